# SPDX-License-Identifier: Apache-2.0
"""Lets torchvision import beside a CPU-only torch: its compiled operators, which need CUDA, do not load there, and the
import stops at their missing schemas. The image processors use none of them. `./dev bench --setup` puts this module and a
.pth file that imports it into the peers' environment."""
import sys


class _BeforeTorchvision:
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch
            try:
                self.library = torch.library.Library("torchvision", "DEF")
                self.library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
                self.library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            except RuntimeError:  # the operators are there after all
                pass
            _BeforeTorchvision.kept = self
        return None


sys.meta_path.insert(0, _BeforeTorchvision())
