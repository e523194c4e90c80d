"""Parts as they lie in photographs."""

import numpy as np
import pytest
from run_data import make_reports, make_trained, run_params

from heml.explanation.pictures import GREY
from heml.reporting.crops import enlarged, node_picture
from heml.reporting.finished import Finished
from heml.run import Run


@pytest.mark.parametrize("times", [1, 3])
def test_a_mask_is_enlarged_by_whole_cells(times):
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    pixels = np.zeros((5 * times, 7 * times, 3), np.uint8)
    np.testing.assert_array_equal(enlarged(mask, pixels), np.kron(mask, np.ones((times, times))).astype(bool))
    halved = enlarged(mask, np.zeros((8, 10, 3), np.uint8))
    assert halved.tolist() == [[mask[y * 5 // 8, x * 7 // 10] for x in range(10)] for y in range(8)]


def test_what_a_node_sees_is_the_canvas_where_the_photograph_is_no_larger(tmp_path):
    params = run_params()
    make_reports(make_trained(tmp_path, params), params)
    finished = Finished.read(params, Run(tmp_path))
    box = finished.metric.headers["left"].box
    view = finished.gallery.view(3)
    found = node_picture(finished, 3, "left")
    np.testing.assert_array_equal(found, view.picture(["left"], box))
    assert (found == GREY).all(2).any()
