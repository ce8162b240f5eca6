"""A claimed equality of two expressions, and how SymPy decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sympy as sp


@dataclass(frozen=True)
class Identity:
    """Two expressions that are claimed to be equal, and where the claim comes from.

    Attributes
    ----------
    name : str
        Short name, unique within the package.
    source : str
        Paper and equation number. "(derived)" marks a formula that the paper does not print, and
        "(from memory)" one that was not checked against its text.
    statement : str
        What the identity says and under which assumptions.
    left : sympy.Expr or sympy.ImmutableDenseMatrix
        What is derived; may contain operations that have not been carried out.
    right : sympy.Expr or sympy.ImmutableDenseMatrix
        What it is claimed to equal, of the same shape.
    """

    name: str
    source: str
    statement: str
    left: sp.Expr | sp.ImmutableDenseMatrix
    right: sp.Expr | sp.ImmutableDenseMatrix

    def residual(self) -> sp.Expr | sp.ImmutableDenseMatrix:
        """Left minus right, with every pending operation carried out, simplified.

        Returns
        -------
        sympy.Expr or sympy.ImmutableDenseMatrix
            Zero (or the zero matrix) where the identity holds.
        """
        import sympy as sp

        difference = self.left - self.right
        if isinstance(difference, sp.MatrixBase):
            return difference.applyfunc(_simplified)
        return _simplified(difference)

    def holds(self) -> bool:
        """Whether SymPy reduces the residual to exactly zero.

        Returns
        -------
        bool
            False where the sides differ, and also where SymPy cannot prove that they are equal.
        """
        import sympy as sp

        residual = self.residual()
        if isinstance(residual, sp.MatrixBase):
            return bool(residual.is_zero_matrix)
        return bool(residual.is_zero)

    def latex(self) -> str:
        """Write the identity in LaTeX, without surrounding dollar signs.

        Returns
        -------
        str
            ``left = right``, with the pending operations of both sides written out; logarithms
            are natural and printed as ln.
        """
        import sympy as sp

        return f"{sp.latex(self.left, ln_notation=True)} = {sp.latex(self.right, ln_notation=True)}"


def _simplified(expression: sp.Expr) -> sp.Expr:
    """Carry out what is pending, then simplify; logarithms of products are split where valid."""
    import sympy as sp

    def split(argument: sp.Expr) -> sp.Expr:
        return sp.expand_log(sp.log(sp.factor(sp.simplify(argument))))

    def integrate(integrand: sp.Expr, *limits: sp.Tuple) -> sp.Expr:
        for limit in limits:  # simplified in between: an inner erf + erfc would stop the outer
            integrand = sp.simplify(sp.Integral(integrand, limit).doit().rewrite(sp.erf))
        return integrand

    # expand_log splits only positive factors, so this never assumes what is not known.
    return sp.simplify(expression.replace(sp.Integral, integrate).doit().replace(sp.log, split))
