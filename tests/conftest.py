"""What several test files share."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny

from churn_clv import bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved bundle; see tiny.py."""
    folder = tmp_path_factory.mktemp("tiny") / "bundle"
    bundle.save(tiny.tiny_bundle(), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder: Path) -> bundle.Bundle:
    """The same bundle, loaded."""
    return bundle.load_bundle(tiny_folder)
