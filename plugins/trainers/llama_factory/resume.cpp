// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/resume.hpp"

#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include "plugins/trainers/llama_factory/files.hpp"

namespace dt2it::llama_factory {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kHook =
    R"py(# Written by dt2it for a resumed training; see plugins/trainers/llama_factory of dt2it.
import importlib.machinery
import importlib.util
import os
import sys

folder = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != folder]
other = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
if other is not None and other.loader is not None:  # the environment's own, which this file hides
    other.loader.exec_module(importlib.util.module_from_spec(other))

PARSER = "llamafactory.hparams.parser"


class Hook:
    def find_spec(self, name, path, target=None):
        if name != PARSER:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def load_and_wrap(module):
            load(module)
            parse = module.get_train_args

            def get_train_args(*args, **kwargs):
                from transformers import Trainer

                # The weights are those it starts from.
                Trainer._load_from_checkpoint = lambda self, *args, **kwargs: None
                result = parse(*args, **kwargs)
                result[2].resume_from_checkpoint = os.environ["DT2IT_RESUME_FROM"]
                return result

            module.get_train_args = get_train_args

        spec.loader.exec_module = load_and_wrap
        return spec


if "DT2IT_RESUME_FROM" in os.environ:
    sys.meta_path.insert(0, Hook())
)py";

bool complete(const fs::path& checkpoint, bool reward_head) {
  const auto has = [&](const char* name) { return fs::exists(checkpoint / name); };
  // The head is split off last.
  return has("trainer_state.json") && (!reward_head || has("value_head.safetensors")) &&
         (has("model.safetensors") || has("model.safetensors.index.json") ||
          has("adapter_model.safetensors"));
}

}  // namespace

fs::path last_checkpoint(const fs::path& output, bool reward_head) {
  constexpr std::string_view kPrefix = "checkpoint-";
  std::error_code absent;
  std::vector<fs::path> broken;
  fs::path best;
  long best_step = -1;
  for (const auto& entry : fs::directory_iterator(output, absent)) {
    const std::string name = entry.path().filename().string();
    long step = 0;
    if (!name.starts_with(kPrefix)) continue;
    const auto [end, failed] =
        std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), step);
    if (failed != std::errc{} || end != name.data() + name.size()) continue;
    if (!complete(entry.path(), reward_head)) {
      broken.push_back(entry.path());
    } else if (step > best_step) {
      best_step = step;
      best = entry.path();
    }
  }
  for (const fs::path& folder : broken) fs::remove_all(folder);
  return best;
}

std::map<std::string, std::string> resume_hook(const fs::path& folder, const fs::path& checkpoint) {
  fs::create_directories(folder);
  write_text(folder / "sitecustomize.py", kHook);
  const char* paths = std::getenv("PYTHONPATH");
  return {{"DT2IT_RESUME_FROM", checkpoint.string()},
          {"PYTHONPATH", paths && *paths ? folder.string() + ":" + paths : folder.string()}};
}

}  // namespace dt2it::llama_factory
