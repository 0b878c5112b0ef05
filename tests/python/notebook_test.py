# SPDX-License-Identifier: Apache-2.0
"""Runs a notebook from its first cell to its last; its assertions are the test. notebook_test.py FILE."""
import json
import pathlib
import sys
import tempfile

import nbformat
from nbclient import NotebookClient

# A kernel of this very interpreter, whatever kernels the user has.
with tempfile.TemporaryDirectory() as folder:
    kernel = pathlib.Path(folder) / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(json.dumps(
        {"argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "Python 3", "language": "python"}))
    import os
    os.environ["JUPYTER_PATH"] = folder
    notebook = nbformat.read(sys.argv[1], as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
assert len(cells) > 3 and all(cell.execution_count for cell in cells)
assert any("text/html" in output.get("data", {}) for cell in cells for output in cell.outputs), "no table was shown"
print(f"{len(cells)} cells run")
