"""What the tests of figures share."""

import numpy as np
import xarray as xr

from paper_figures import style


def drawn(figure, found, *, rendered=False):
    """Draw a figure of these results, which must stay as they are."""
    copies = {key: d.copy(deep=True) for key, d in found.items()}
    with style.applied():
        drawing = figure.plot(found)
        if rendered:
            drawing.draw_without_rendering()
    for key, d in found.items():
        xr.testing.assert_identical(d, copies[key])
    return drawing


def has_line(axes, x, y):
    """Whether a line of the axes goes through these points and no others."""
    wanted = np.column_stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)))
    lines = [np.asarray(line.get_xydata(), float) for line in axes.lines]
    return any(each.shape == wanted.shape and np.allclose(each, wanted) for each in lines)
