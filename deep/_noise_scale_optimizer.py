"""The noise scale of SGD's settings, read off an optimizer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch.optim import SGD, Optimizer

from theory.noise_scale import noise_scale


def sde_noise_scale(
    optimizer: Optimizer, *, train_size: int, batch_size: int
) -> NDArray[np.float64]:
    r"""Return the noise scale g of each parameter group of an optimizer, as it is set now.

    .. math:: g = \frac{\epsilon(1 - \tau)}{1 - m}\left(\frac NB - 1\right)

    with learning rate :math:`\epsilon`, momentum m and dampening :math:`\tau`, which torch ignores
    where there is no momentum. With :math:`\tau = m` the velocity is an exponential average of
    gradients, and g does not depend on m. Nesterov's momentum has the g of the heavy ball: each
    gradient moves the weights by :math:`\epsilon/(1 - m)` in all (derived).

    Parameters
    ----------
    optimizer : torch.optim.SGD
        Of losses that are means over a batch.
    train_size : int
        N.
    batch_size : int
        B, of all processes and accumulated micro-batches together; at most N.

    Returns
    -------
    ndarray (groups,)

    Raises
    ------
    TypeError
        If the optimizer is another.
    ValueError
        If a size or a setting is out of the range of :func:`theory.noise_scale.noise_scale`.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D.

    Examples
    --------
    >>> import torch
    >>> model = torch.nn.Linear(2, 1)
    >>> optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> sde_noise_scale(optimizer, train_size=1000, batch_size=100).round(9)
    array([9.])
    """
    if not isinstance(optimizer, SGD):
        raise TypeError(
            f"optimizer must be a torch.optim.SGD, got {type(optimizer).__name__}: the noise scale "
            "g is of steps that are linear in the gradient; for Adam and RMSprop see "
            "theory.noise_scale.square_root_scaling"
        )
    groups = optimizer.param_groups
    momenta = np.array([float(group["momentum"]) for group in groups])
    dampenings = np.array([float(group["dampening"]) for group in groups])
    rates = np.array([float(group["lr"]) for group in groups])
    rates = rates * np.where(momenta != 0.0, 1.0 - dampenings, 1.0)
    return np.asarray(noise_scale(rates, train_size, batch_size, momenta))
