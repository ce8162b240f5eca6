"""How the figures on Zhang et al. (2017) are drawn: Datasets in, a figure out."""


def _not_yet(data):
    raise NotImplementedError


construction = interleaving = rounding = depths = cost = _not_yet
sgd_limit = table_3 = norms = _not_yet
rademacher = cover = stability = randomized_training = _not_yet
