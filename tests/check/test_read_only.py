"""The service as another user than root, on a file system where only TMPDIR can be written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from served import serving

from churn_clv import publish
from churn_clv.service.contract import EXAMPLE

pytestmark = pytest.mark.check
# Another user; where that one may not read this Python (it lies in root's home), root without any of root's rights.
NOBODY = "--reuid 65534 --regid 65534 --clear-groups"
POWERLESS = "--bounding-set=-all --inh-caps=-all"
# A mount namespace of its own: everything read-only, a small tmpfs for TMPDIR; then another user, no way back.
SCRIPT = """
set -e
mount --make-rprivate /
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$TMPDIR"
awk '{print $2}' /proc/self/mounts | grep -v -e "^$TMPDIR" -e '^/proc' -e '^/sys' -e '^/dev' | while read -r place; do
  mount -o remount,ro,bind "$place" 2>/dev/null || true
done
if touch "$WITNESS" 2>/dev/null; then echo "still writable"; exit 9; fi
exec setpriv $RIGHTS --no-new-privs "$@"
"""


def allowed() -> bool:
    """Whether this machine lets us make such a place."""
    if os.name != "posix" or os.geteuid() != 0 or not (shutil.which("unshare") and shutil.which("setpriv")):
        return False
    probe = ["unshare", "-m", "sh", "-c", "mount --make-rprivate / && mount -t tmpfs tmpfs /mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.skipif(not allowed(), reason="needs root, unshare and setpriv")
def test_the_service_needs_one_writable_folder_and_no_rights(tmp_path: Path, tiny_folder: Path) -> None:
    usable = subprocess.run(["setpriv", *NOBODY.split(), sys.executable, "-c", "import bentoml"], capture_output=True)
    rights = POWERLESS if usable.returncode or not _open(tmp_path) else NOBODY
    publish.publish(tiny_folder, tmp_path / "bundles")
    writable = tmp_path / "writable"
    writable.mkdir()
    env = {"TMPDIR": str(writable), "HOME": "/nowhere", "BENTOML_HOME": "", "WITNESS": str(tmp_path / "witness")}
    env["RIGHTS"] = rights
    with serving(tmp_path, {}, env, within=("unshare", "-m", "sh", "-c", SCRIPT, "sh")) as served:
        served.wait("/readyz", 200)
        assert served.predict(EXAMPLE)[0]["model_version"]
        assert served.ask("/metrics")[0] == 200
        status = Path(f"/proc/{served.worker()}/status").read_text()
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
        assert rights == POWERLESS or "Uid:\t65534\t65534" in status
        mounts = Path(f"/proc/{served.worker()}/mounts").read_text().splitlines()
        root = next(line for line in mounts if line.split()[1] == "/")
        assert "ro" in root.split()[3].split(",")
    assert not (tmp_path / "bentoml").exists() and not (tmp_path / "witness").exists()


def _open(folder: Path) -> bool:
    """Whether everyone may enter a folder, from the root down."""
    return all(place.stat().st_mode & 0o005 == 0o005 for place in (folder, *folder.parents))
