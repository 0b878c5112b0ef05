// SPDX-License-Identifier: Apache-2.0
#include "core/nn/process_group.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#if defined(USE_C10D_NCCL) && __has_include(<nccl.h>)
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#define DT2IT_HAS_NCCL 1
#endif

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

std::string environment(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

int number_in_environment(const char* name, int low, int high) {
  const std::string text = environment(name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || value < low ||
      value > high)
    throw ConfigError(
        fmt::format("WORLD_SIZE is set, but {} is '{}' (a number from {} to {} is expected, as "
                    "torchrun sets it)",
                    name, text, low, high));
  return value;
}

}  // namespace

struct ProcessGroup::Backend {
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> host;   // gloo: for what is in host memory, and for meeting
  c10::intrusive_ptr<c10d::Backend> group;  // for tensors on the device; on the CPU the same
};

ProcessGroup::Place ProcessGroup::Place::from_environment() {
  Place place;
  if (environment("WORLD_SIZE").empty()) return place;
  place.size = number_in_environment("WORLD_SIZE", 1, 1 << 20);
  if (place.size == 1) return place;
  place.rank = number_in_environment("RANK", 0, place.size - 1);
  place.port = number_in_environment("MASTER_PORT", 1, 65535);
  place.address = environment("MASTER_ADDR");
  if (place.address.empty()) throw ConfigError("WORLD_SIZE is set, but MASTER_ADDR is not");
  return place;
}

ProcessGroup::ProcessGroup(const Place& place, double seconds, at::Device device)
    : place_(place), seconds_(seconds), backend_(std::make_unique<Backend>()) {
  if (place.size < 2) return;
  run("meeting", [&](Backend& backend) {
    const auto limit = std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
    c10d::TCPStoreOptions options;
    options.port = static_cast<std::uint16_t>(place.port);
    options.timeout = limit;
    // torchrun keeps a store of its own at this port; then all are clients.
    options.isServer = place.rank == 0 && environment("TORCHELASTIC_USE_AGENT_STORE") != "True";
    options.numWorkers = static_cast<std::size_t>(place.size);
    options.waitWorkers = false;
    backend.store = c10::make_intrusive<c10d::PrefixStore>(
        "dt2it/" + environment("TORCHELASTIC_RESTART_COUNT"),
        c10::make_intrusive<c10d::TCPStore>(place.address, options));
#ifndef DT2IT_HAS_NCCL
    if (device.is_cuda())
      throw ConfigError(
          "several processes on CUDA need NCCL, which this build has not (no nccl.h was found "
          "beside LibTorch)");
#endif
    auto gloo = c10d::ProcessGroupGloo::Options::create(limit);
    const bool local = place.address == "127.0.0.1" || place.address == "localhost";
    gloo->devices.push_back(local ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")
                                  : c10d::ProcessGroupGloo::createDefaultDevice());
    gloo->threads = 2;
    backend.host =
        c10::make_intrusive<c10d::ProcessGroupGloo>(backend.store, place.rank, place.size, gloo);
    backend.group = backend.host;
#ifdef DT2IT_HAS_NCCL
    if (!device.is_cuda()) return;
    auto nccl = c10d::ProcessGroupNCCL::Options::create();
    nccl->timeout = limit;
    backend.group = c10::make_intrusive<c10d::ProcessGroupNCCL>(
        c10::make_intrusive<c10d::PrefixStore>("nccl", backend.store), place.rank, place.size,
        nccl);
#endif
  });
}

ProcessGroup::~ProcessGroup() = default;

void ProcessGroup::run(const char* what, const std::function<void(Backend&)>& operation) {
  try {
    operation(*backend_);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    std::string reason = error.what();
    reason.resize(std::min(reason.size(), reason.find('\n')));
    throw ModelError(fmt::format(
        "process {} of {}: {} failed: another process is gone, or did not answer within {} s ({})",
        place_.rank, place_.size, what, seconds_, reason));
  }
}

void ProcessGroup::sum(at::Tensor& tensor) {
  if (size() == 1) return;
  run("adding up", [&](Backend& backend) {
    std::vector<at::Tensor> tensors{tensor};
    (tensor.is_cpu() ? backend.host : backend.group)->allreduce(tensors)->wait();
  });
}

void ProcessGroup::sum(double* values, std::size_t count) {
  if (size() == 1 || count == 0) return;
  at::Tensor tensor = at::empty({static_cast<std::int64_t>(count)}, at::kDouble);
  std::memcpy(tensor.data_ptr<double>(), values, count * sizeof(double));
  sum(tensor);
  std::memcpy(values, tensor.data_ptr<double>(), count * sizeof(double));
}

void ProcessGroup::reduce_scatter(at::Tensor& part, at::Tensor& whole) {
  run("adding up gradients",
      [&](Backend& backend) { backend.group->_reduce_scatter_base(part, whole)->wait(); });
}

void ProcessGroup::all_gather(at::Tensor& whole, at::Tensor& part) {
  run("exchanging weights",
      [&](Backend& backend) { backend.group->_allgather_base(whole, part)->wait(); });
}

void ProcessGroup::barrier() {
  if (size() == 1) return;
  run("waiting for the others", [&](Backend& backend) { backend.host->barrier()->wait(); });
}

}  // namespace dt2it::nn
