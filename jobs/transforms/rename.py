"""What jobs/rename-hooks.yaml makes of each hook; bulkhooks calls `to_v2` where it plans."""

from typing import Any


def to_v2(hook: dict[str, Any]) -> dict[str, Any] | None:
    """Gives fraud-check the name fraud-check-v2, and newer packages where it has some."""
    if hook["name"].endswith("-v2"):
        return None  # left alone
    packages = hook["dependencies"]
    if "axios" in packages:
        packages["axios"] = "1.7.9"
    return {"name": f"{hook['name']}-v2", "dependencies": packages}
