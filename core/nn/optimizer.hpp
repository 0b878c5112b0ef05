// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "core/nn/process_group.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct OptimizerConfig {
  double learning_rate = 1e-5;
  std::array<double, 2> betas{0.9, 0.999};
  double epsilon = 1e-8;
  double weight_decay = 0;
  bool decay_vectors = false;  // biases and norms decay too (transformers: not)
  // For each parameter, what its learning rate is multiplied by; empty: 1.
  std::function<double(const std::string& name)> rate_of;
  // Weights in bfloat16 have float32 copies, which are what is trained; gradients of several backward passes are added
  // in float32.
  bool master_weights = true;
  // Muon (Jordan et al. 2024) for the decoder layers' matrices, AdamW for all else. In one process only.
  bool muon = false;
  double muon_learning_rate = 0.02;
};

// The files of a saved state: one, or one of each process.
class OptimizerStateFiles {
 public:
  explicit OptimizerStateFiles(const std::vector<std::filesystem::path>& files);
  bool contains(const std::string& name) const;  // whole, or any piece of it
  // Elements [begin, begin + count) of the flattened tensor `name`, whoever has saved them. Throws ModelError for a gap.
  at::Tensor load(const std::string& name, std::int64_t begin, std::int64_t count) const;

 private:
  struct Piece {
    std::size_t file;
    std::string stored;
    std::int64_t begin;
  };
  std::vector<SafetensorsFile> files_;
  std::map<std::string, std::vector<Piece>> pieces_;
};

// AdamW (Loshchilov & Hutter 2019), with Muon for matrices when asked. Keeps the given tensors; parameters that are not
// trainable are left out, and those that never get a gradient cost no memory. With a process group each process keeps the
// state of its share of all elements (ZeRO, Rajbhandari et al. 2020, stages 1 and 2): gradients are summed and scattered,
// weights gathered. Not thread-safe.
class Optimizer {
 public:
  Optimizer(const std::vector<NamedParameter>& parameters, const OptimizerConfig& config,
            ProcessGroup* group = nullptr);

  void zero_grad();
  // After each backward pass but the last of a step, where short types are accumulated in float32.
  void collect_gradients();
  // The sum over processes. Then all gradients are scaled so that their common norm is at most `max_norm` (0: not).
  // Returns the norm before.
  double clip_gradients(double max_norm);
  // One step at `scale` times the learning rates. Parameters without a gradient (in any process) stay as they are.
  void step(double scale);

  // Everything that a later step depends on besides the parameters; for saving and resuming. Tensors are the live ones;
  // with a process group, this process's pieces under "NAME@BEGIN".
  NamedTensors state() const;
  // What state() of as many or other processes saved.
  void load(const OptimizerStateFiles& files);

 private:
  struct Slot {
    std::string name;
    at::Tensor parameter;
    bool muon = false;
    double rate = 1, decay = 0;
    at::Tensor first, second, steps, momentum;  // undefined until there was a gradient
    at::Tensor master;  // float32, where the parameter is short and in one process
    at::Tensor sum;     // float32, of collected gradients
    // The elements that this process trains, as views: with a process group of a bucket's part, else the whole.
    std::int64_t begin = 0, count = 0;
    at::Tensor weight, gradient;
    bool active = false;  // has a gradient in this step
  };
  struct Bucket {  // neighbours that travel together
    std::vector<std::size_t> slots;
    at::Tensor gradients, gradient_part;  // float32
    at::Tensor weights;                   // in the parameters' type, part by part
    at::Tensor weight_part;               // float32: the weights that are trained
  };
  bool short_type(const Slot& slot) const;
  at::Tensor gradient_of(Slot& slot) const;
  void find_active();
  void ensure_state(Slot& slot);
  void make_buckets();
  void reduce(Bucket& bucket);
  void gather(Bucket& bucket);
  void muon_step(Slot& slot, double scale);

  OptimizerConfig config_;
  ProcessGroup* group_;
  std::vector<Slot> slots_;
  std::vector<Bucket> buckets_;
  std::vector<bool> in_bucket_;
};

// Shape of the learning rate after the warm-up: half a cosine to 0, a line to 0, or level.
enum class Schedule : std::uint8_t { cosine, linear, constant };

// Share of the full learning rate at step `step` (0 ... total - 1). The warm-up rises in a line over warmup_ratio * total
// steps, reaching the full rate with its last one.
double scheduled_rate(Schedule schedule, std::int64_t step, std::int64_t total,
                      double warmup_ratio);
// As transformers' get_scheduler: ceil(warmup_ratio * total) steps of warm-up, the first of which has the rate 0.
double transformers_scheduled_rate(Schedule schedule, std::int64_t step, std::int64_t total,
                                   double warmup_ratio);

}  // namespace dt2it::nn
