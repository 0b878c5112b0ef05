// SPDX-License-Identifier: Apache-2.0
#include "core/nn/device.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "core/util/shard.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

std::optional<int> number_from(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

}  // namespace

int local_rank(const std::function<const char*(const char*)>& variable) {
  const char* name = "LOCAL_RANK";
  const char* text = variable(name);
  if (!text && in_slurm_step(variable)) text = variable(name = "SLURM_LOCALID");
  if (!text) return 0;
  const std::optional<int> rank = number_from(text);
  if (!rank) throw ConfigError(fmt::format("{} = {} is no number from 0 on", name, text));
  return *rank;
}

at::Device device_of(const std::string& text, int local_rank, int count) {
  if (text == "cpu" || (text == "auto" && count == 0)) return at::Device(at::kCPU);
  const bool own = text == "cuda" || text == "auto";
  const std::optional<int> named =
      text.starts_with("cuda:") ? number_from(std::string_view(text).substr(5)) : std::nullopt;
  if (!own && !named)
    throw ConfigError(
        fmt::format("device = \"{}\" is not understood (allowed: cpu, cuda, cuda:N, auto)", text));
  if (count == 0)
    throw ConfigError(fmt::format(
        "device = \"{}\": this LibTorch has no CUDA device (allowed here: cpu, auto)", text));
  if (named && *named >= count)
    throw ConfigError(
        fmt::format("device = \"{}\": there are {} CUDA devices, numbered from 0", text, count));
  return at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(own ? local_rank % count : *named));
}

}  // namespace dt2it::nn
