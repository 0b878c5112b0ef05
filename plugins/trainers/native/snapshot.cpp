// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/snapshot.hpp"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/nn/text_file.hpp"
#include "dt2it/error.hpp"

namespace dt2it::native {

namespace fs = std::filesystem;

namespace {

fs::path step_folder(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format("step-{}", step);
}

std::optional<std::int64_t> current_step(const fs::path& folder) {
  const fs::path file = folder / "current";
  if (!fs::exists(file)) return std::nullopt;
  const std::string text = nn::read_text_file(file);
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
  if (error != std::errc() || step < 0)
    throw ModelError(fmt::format("{}: is not a step number; remove {} to start over", file.string(),
                                 folder.string()));
  return step;
}

}  // namespace

Snapshots::Snapshots(fs::path folder, nn::ProcessGroup& group)
    : folder_(std::move(folder)), group_(group) {}

void Snapshots::save(std::int64_t step, const std::vector<NamedParameter>& parameters,
                     const nn::Optimizer& optimizer,
                     const std::map<std::string, std::string>& facts) {
  if (!possible()) return;
  if (current_step(folder_) == step) return;
  const fs::path into = step_folder(folder_, step);
  if (group_.rank() == 0) {
    fs::remove_all(into);
    fs::create_directories(into);
  }
  group_.barrier();
  nn::NamedTensors all = optimizer.state();
  if (group_.rank() == 0)
    for (const NamedParameter& parameter : parameters)
      if (parameter.trainable)
        all.emplace_back("weight/" + parameter.name, parameter.tensor.detach());
  nn::write_safetensors(into / fmt::format("rank-{}.safetensors", group_.rank()), all, facts);
  group_.barrier();
  if (group_.rank() == 0) {
    nn::write_text_file(folder_ / "current", std::to_string(step));
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.path().filename().string().starts_with("step-") && entry.path() != into)
        fs::remove_all(entry.path());
  }
  group_.barrier();
}

std::optional<Snapshots::Resumed> Snapshots::load(const std::vector<NamedParameter>& parameters,
                                                  nn::Optimizer& optimizer) {
  if (!possible()) return std::nullopt;
  const auto step = current_step(folder_);
  if (!step) return std::nullopt;
  const fs::path from = step_folder(folder_, *step);
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(from))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  const fs::path first = from / "rank-0.safetensors";
  const nn::SafetensorsFile weights(first);
  const at::NoGradGuard no_grad;
  for (const NamedParameter& parameter : parameters) {
    if (!parameter.trainable) continue;
    const std::string name = "weight/" + parameter.name;
    if (!weights.contains(name) || weights.view(name).sizes() != parameter.tensor.sizes())
      throw ModelError(
          fmt::format("{}: '{}' is missing or of another shape: it was saved by a training with "
                      "other settings; "
                      "remove {} to start over",
                      first.string(), parameter.name, folder_.string()));
    at::Tensor tensor = parameter.tensor;
    tensor.copy_(weights.view(name));
  }
  optimizer.load(nn::OptimizerStateFiles(files));
  return Resumed{*step, weights.metadata()};
}

void share_files(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path target = to / entry.path().filename();
    if (entry.is_directory()) {
      share_files(entry.path(), target);
      continue;
    }
    fs::remove(target);
    std::error_code no_link;
    fs::create_hard_link(entry.path(), target, no_link);
    if (no_link) fs::copy_file(entry.path(), target);
  }
}

}  // namespace dt2it::native
