// SPDX-License-Identifier: Apache-2.0
#pragma once

// Several processes that train one model, by c10d: gloo for all that is in host memory, NCCL for tensors on CUDA where
// LibTorch was built with it and its header is there.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

namespace dt2it::nn {

// Every member is called by all processes in the same order, from one thread. Throws ModelError when another process is
// gone or is silent for longer than the time limit.
class ProcessGroup {
 public:
  struct Place {
    int rank = 0;
    int size = 1;
    std::string address = "127.0.0.1";  // of the process with rank 0
    int port = 0;
    // RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT, as torchrun sets them; without WORLD_SIZE one process. Throws
    // ConfigError when some are missing or no numbers.
    static Place from_environment();
  };
  // `seconds`: how long an operation may wait for the others. `device`: of the tensors.
  explicit ProcessGroup(const Place& place, double seconds, at::Device device);
  ~ProcessGroup();

  int rank() const { return place_.rank; }
  int size() const { return place_.size; }

  void sum(at::Tensor& tensor);  // over all processes, in place
  void sum(double* values, std::size_t count);
  // Part `rank` of the sum of `whole` ([size * part.numel()]) over all processes.
  void reduce_scatter(at::Tensor& part, at::Tensor& whole);
  // The parts of all processes one behind the other.
  void all_gather(at::Tensor& whole, at::Tensor& part);
  void barrier();

 private:
  struct Backend;
  void run(const char* what, const std::function<void(Backend&)>& operation);

  const Place place_;
  const double seconds_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace dt2it::nn
