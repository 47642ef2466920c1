from __future__ import annotations

import pytest

from masactrl_video.errors import UserError
from masactrl_video.model import gpu_driver
from masactrl_video.model.gpu_driver import check_device_name


@pytest.mark.parametrize("name", ["tpu", "bogus", "", "CUDA", "cuda:", "cuda:x", "meta", "cpu,cuda"])
def test_a_name_of_no_kind_of_device_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"device: got '{name}'; allowed: cuda, mps or cpu"):
        check_device_name(name)


@pytest.mark.parametrize(
    ("system", "driver", "here"), [("Linux", False, False), ("Linux", True, True), ("Windows", False, True)]
)
def test_a_gpu_is_refused_at_once_only_where_no_driver_can_be(
    system: str, driver: bool, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_driver.platform, "system", lambda: system)
    monkeypatch.setattr(gpu_driver, "gpu_may_be_here", lambda: driver)
    check_device_name(None)
    check_device_name("cpu")
    if here:
        check_device_name("cuda:1")
    else:
        with pytest.raises(UserError, match="device: got 'cuda:1'; this machine has cpu"):
            check_device_name("cuda:1")
