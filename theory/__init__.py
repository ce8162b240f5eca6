r"""Closed forms: what the papers' theorems predict, as functions of numbers.

The import rule: ``theory`` uses NumPy and SciPy and nothing else of this project.

Symbols and units, used in every docstring below:

========================  =====================================================================
symbol                    meaning
========================  =====================================================================
:math:`\epsilon`          learning rate
:math:`N`                 number of training examples (``train_size``)
:math:`B`                 batch size
:math:`m`                 momentum coefficient
:math:`P`                 number of parameters
:math:`H`                 Hessian of the data term of the cost
:math:`C`                 gradient covariance over examples; in :mod:`theory.evidence`, where no
                          gradient noise appears, the paper's summed cost
:math:`\lambda`           prior precision: the weight decay of the *summed* cost
========================  =====================================================================

The loss is the **mean** over examples unless a name or docstring says *sum*; logarithms are
natural; evidence is in nats, with all its constants. Functions take array-likes, compute in
float64, broadcast over leading batch axes, and return a float, an array or a frozen record.
"""
