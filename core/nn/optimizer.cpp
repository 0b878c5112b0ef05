// SPDX-License-Identifier: Apache-2.0
#include "core/nn/optimizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

constexpr std::int64_t kBucketElements = 16 << 20;

// The nearest orthogonal matrix, roughly: five steps of the quintic Newton-Schulz iteration that Muon uses.
at::Tensor orthogonalised(const at::Tensor& gradient) {
  constexpr double a = 3.4445, b = -4.7750, c = 2.0315;
  const bool tall = gradient.size(0) > gradient.size(1);
  at::Tensor x = tall ? gradient.t() : gradient;
  x = x / (x.norm() + 1e-7);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor gram = x.mm(x.t());
    const at::Tensor polynomial = at::addmm(gram, gram, gram, b, c);
    x = at::addmm(x, polynomial, x, a, 1);
  }
  return tall ? x.t() : x;
}

// The squares of all elements of all tensors. What each adds up to is found where it is and comes to the host once for all
// of them: one wait for the device, not one for each tensor.
class SquaredNorm {
 public:
  void add(const at::Tensor& gradient) {
    if (gradient.numel() == 0) return;
    const at::Tensor flat = gradient.reshape({-1}).to(at::kFloat);
    at::Tensor sum = at::dot(flat, flat);
    if (!sums_.empty()) sum = sum.to(sums_[0].device());
    sums_.push_back(std::move(sum));
  }
  // In double, in the order in which they were added.
  double total() const {
    if (sums_.empty()) return 0;
    const at::Tensor sums = at::stack(sums_).to(at::kCPU, at::kDouble);
    const double* values = sums.const_data_ptr<double>();
    return std::accumulate(values, values + sums.numel(), 0.0);
  }

 private:
  std::vector<at::Tensor> sums_;
};

}  // namespace

// ---- saved state

OptimizerStateFiles::OptimizerStateFiles(const std::vector<std::filesystem::path>& files) {
  for (const auto& path : files) {
    files_.emplace_back(path);
    for (const std::string& stored : files_.back().names()) {
      const std::size_t at = stored.rfind('@');
      const std::int64_t begin = at == std::string::npos ? 0 : std::stoll(stored.substr(at + 1));
      pieces_[stored.substr(0, at)].push_back({files_.size() - 1, stored, begin});
    }
  }
  for (auto& [name, pieces] : pieces_)
    std::sort(pieces.begin(), pieces.end(),
              [](const Piece& a, const Piece& b) { return a.begin < b.begin; });
}

bool OptimizerStateFiles::contains(const std::string& name) const { return pieces_.contains(name); }

at::Tensor OptimizerStateFiles::load(const std::string& name, std::int64_t begin,
                                     std::int64_t count) const {
  const auto found = pieces_.find(name);
  at::Tensor result;
  std::int64_t done = begin;
  if (found != pieces_.end())
    for (const Piece& piece : found->second) {
      if (done == begin + count && result.defined()) break;
      const at::Tensor flat = files_[piece.file].view(piece.stored).reshape({-1});
      if (!result.defined()) result = at::empty({count}, flat.options());
      const std::int64_t end = std::min(piece.begin + flat.numel(), begin + count);
      if (piece.begin > done || end <= done) continue;
      result.narrow(0, done - begin, end - done)
          .copy_(flat.narrow(0, done - piece.begin, end - done));
      done = end;
    }
  if (!result.defined() || done != begin + count)
    throw ModelError(fmt::format(
        "saved state of the training: elements {} to {} of '{}' are in none of its files", done,
        begin + count, name));
  return result;
}

// ---- the optimiser

Optimizer::Optimizer(const std::vector<NamedParameter>& parameters, const OptimizerConfig& config,
                     ProcessGroup* group)
    : config_(config), group_(group && group->size() > 1 ? group : nullptr) {
  if (config.muon && group_)
    throw ConfigError("the optimizer muon works in one process only (allowed with several: adamw)");
  for (const NamedParameter& parameter : parameters) {
    if (!parameter.trainable) continue;
    Slot slot;
    slot.name = parameter.name;
    slot.parameter = parameter.tensor;
    slot.muon = config.muon && parameter.tensor.dim() == 2 &&
                parameter.name.find(".layers.") != std::string::npos;
    slot.rate = config.rate_of ? config.rate_of(parameter.name) : 1;
    slot.decay = parameter.tensor.dim() > 1 || config.decay_vectors ? config.weight_decay : 0;
    slot.count = parameter.tensor.numel();
    slots_.push_back(std::move(slot));
  }
  in_bucket_.assign(slots_.size(), false);
}

bool Optimizer::short_type(const Slot& slot) const {
  return config_.master_weights && slot.parameter.scalar_type() != at::kFloat;
}

void Optimizer::zero_grad() {
  for (Slot& slot : slots_) {
    slot.parameter.mutable_grad().reset();
    slot.sum.reset();
    slot.gradient.reset();
    slot.active = false;
  }
}

void Optimizer::collect_gradients() {
  const at::NoGradGuard no_grad;
  for (Slot& slot : slots_) {
    if (!short_type(slot) || !slot.parameter.grad().defined()) continue;
    if (slot.sum.defined())
      slot.sum.add_(slot.parameter.grad());
    else
      slot.sum = slot.parameter.grad().to(at::kFloat);
    slot.parameter.mutable_grad().reset();
  }
}

// The whole parameter's gradient of this process in the type that is trained; undefined: none.
at::Tensor Optimizer::gradient_of(Slot& slot) const {
  if (slot.sum.defined()) return slot.sum;
  const at::Tensor& gradient = slot.parameter.grad();
  if (!gradient.defined()) return {};
  return gradient.is_contiguous() ? gradient : gradient.contiguous();
}

void Optimizer::find_active() {
  std::vector<double> flags;
  for (Slot& slot : slots_) flags.push_back(gradient_of(slot).defined() ? 1 : 0);
  if (group_) group_->sum(flags.data(), flags.size());
  for (std::size_t i = 0; i < slots_.size(); ++i) slots_[i].active = flags[i] > 0;
}

void Optimizer::ensure_state(Slot& slot) {
  if (slot.steps.defined() || slot.momentum.defined()) return;
  if (slot.muon) {
    slot.momentum = at::zeros_like(slot.parameter).detach();
    return;
  }
  if (!group_) {
    if (short_type(slot)) slot.master = slot.parameter.detach().to(at::kFloat);
    slot.weight = slot.master.defined() ? slot.master : slot.parameter.detach();
  }
  slot.first = at::zeros_like(slot.weight).detach();
  slot.second = at::zeros_like(slot.weight).detach();
  slot.steps = at::zeros({}, at::TensorOptions().dtype(at::kFloat).device(slot.weight.device()));
}

// Active parameters that are in no bucket yet go into new ones; the same in all processes.
void Optimizer::make_buckets() {
  std::vector<std::vector<std::size_t>> fresh;
  std::int64_t room = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!slots_[i].active || in_bucket_[i]) continue;
    const bool other =
        fresh.empty() || room < slots_[i].parameter.numel() ||
        slots_[fresh.back().back()].parameter.scalar_type() != slots_[i].parameter.scalar_type();
    if (other) {
      fresh.emplace_back();
      room = kBucketElements;
    }
    room -= slots_[i].parameter.numel();
    fresh.back().push_back(i);
    in_bucket_[i] = true;
  }
  for (std::vector<std::size_t>& members : fresh) {
    Bucket bucket;
    std::int64_t total = 0;
    for (const std::size_t i : members) total += slots_[i].parameter.numel();
    const std::int64_t part = (total + group_->size() - 1) / group_->size(),
                       mine = part * group_->rank();
    const at::TensorOptions wide =
        slots_[members[0]].parameter.options().dtype(at::kFloat).requires_grad(false);
    bucket.gradients = at::zeros({part * group_->size()}, wide);
    bucket.gradient_part = at::zeros({part}, wide);
    bucket.weights =
        at::zeros({part * group_->size()}, wide.dtype(slots_[members[0]].parameter.scalar_type()));
    bucket.weight_part = at::zeros({part}, wide);
    std::int64_t base = 0;
    for (const std::size_t i : members) {
      Slot& slot = slots_[i];
      const std::int64_t size = slot.parameter.numel();
      const std::int64_t from = std::clamp(mine - base, std::int64_t{0}, size),
                         to = std::clamp(mine + part - base, std::int64_t{0}, size);
      slot.begin = from;
      slot.count = to - from;
      const std::int64_t place = slot.count > 0 ? base + from - mine : 0;
      slot.weight = bucket.weight_part.narrow(0, place, slot.count);
      slot.weight.copy_(slot.parameter.detach().reshape({-1}).narrow(0, from, slot.count));
      base += size;
    }
    bucket.slots = std::move(members);
    buckets_.push_back(std::move(bucket));
  }
}

void Optimizer::reduce(Bucket& bucket) {
  std::int64_t base = 0;
  for (const std::size_t i : bucket.slots) {
    at::Tensor place = bucket.gradients.narrow(0, base, slots_[i].parameter.numel());
    const at::Tensor own = gradient_of(slots_[i]);
    if (own.defined())
      place.copy_(own.reshape({-1}));
    else
      place.zero_();
    base += place.numel();
  }
  group_->reduce_scatter(bucket.gradient_part, bucket.gradients);
  base = 0;
  std::int64_t place = 0;
  for (const std::size_t i : bucket.slots) {
    Slot& slot = slots_[i];
    slot.gradient = bucket.gradient_part.narrow(0, slot.count > 0 ? place : 0, slot.count);
    place += slot.count;
  }
}

void Optimizer::gather(Bucket& bucket) {
  at::Tensor part = bucket.weight_part.to(bucket.weights.scalar_type());
  group_->all_gather(bucket.weights, part);
  std::int64_t base = 0;
  for (const std::size_t i : bucket.slots) {
    at::Tensor& parameter = slots_[i].parameter;
    parameter.detach().copy_(bucket.weights.narrow(0, base, parameter.numel()).view_as(parameter));
    base += parameter.numel();
  }
}

double Optimizer::clip_gradients(double max_norm) {
  const at::NoGradGuard no_grad;
  find_active();
  SquaredNorm squares;
  if (group_) {
    make_buckets();
    for (Bucket& bucket : buckets_) reduce(bucket);
    for (const Bucket& bucket : buckets_) squares.add(bucket.gradient_part);
  } else {
    for (Slot& slot : slots_)
      if (slot.active) {
        slot.gradient = gradient_of(slot);
        squares.add(slot.gradient);
      }
  }
  double sum = squares.total();
  if (group_) group_->sum(&sum, 1);
  const double norm = std::sqrt(sum);
  if (max_norm > 0 && norm > max_norm)
    for (Slot& slot : slots_)
      if (slot.active && slot.count > 0) slot.gradient.mul_(max_norm / (norm + 1e-6));
  return norm;
}

void Optimizer::step(double scale) {
  const at::NoGradGuard no_grad;
  struct Same {  // what one call of the fused kernel can take
    double rate, decay;
    at::ScalarType type;
    std::vector<at::Tensor> weights, gradients, first, second, steps;
  };
  std::vector<Same> groups;
  for (Slot& slot : slots_) {
    if (!slot.active) continue;
    if (!slot.gradient.defined())
      slot.gradient = gradient_of(slot);  // step() without clip_gradients()
    ensure_state(slot);
    if (slot.muon) {
      muon_step(slot, scale);
      continue;
    }
    slot.steps.add_(1);
    if (slot.count == 0) continue;
    const at::ScalarType type = slot.weight.scalar_type();
    auto same = std::find_if(groups.begin(), groups.end(), [&](const Same& group) {
      return group.rate == slot.rate && group.decay == slot.decay && group.type == type;
    });
    if (same == groups.end())
      same = groups.insert(groups.end(), Same{slot.rate, slot.decay, type, {}, {}, {}, {}, {}});
    same->weights.push_back(slot.weight);
    same->gradients.push_back(slot.gradient.to(type));
    same->first.push_back(slot.first);
    same->second.push_back(slot.second);
    same->steps.push_back(slot.steps);
  }
  for (Same& group : groups)
    at::_fused_adamw_(group.weights, group.gradients, group.first, group.second, {}, group.steps,
                      config_.learning_rate * scale * group.rate, config_.betas[0],
                      config_.betas[1], group.decay, config_.epsilon, false, false);
  for (Slot& slot : slots_) {
    if (!slot.active) continue;
    if (slot.master.defined()) slot.parameter.detach().copy_(slot.master);
    // The fused kernel writes without counting up the version, by which caches tell that a weight has changed.
    slot.parameter.unsafeGetTensorImpl()->bump_version();
  }
  for (Bucket& bucket : buckets_) gather(bucket);
}

void Optimizer::muon_step(Slot& slot, double scale) {
  constexpr double kMomentum = 0.95;
  at::Tensor tensor = slot.parameter.detach();
  const at::Tensor gradient = slot.gradient.to(tensor.scalar_type());
  slot.momentum.mul_(kMomentum).add_(gradient);
  const at::Tensor update = orthogonalised(gradient + kMomentum * slot.momentum);
  const double rate = config_.muon_learning_rate * scale * slot.rate;
  const double shape = std::sqrt(
      std::max(1.0, static_cast<double>(tensor.size(0)) / static_cast<double>(tensor.size(1))));
  tensor.mul_(1 - rate * config_.weight_decay).add_(update, -rate * shape);
}

NamedTensors Optimizer::state() const {
  NamedTensors all;
  for (const Slot& slot : slots_) {
    const std::string piece = group_ ? fmt::format("{}@{}", slot.name, slot.begin) : slot.name;
    const auto add = [&](const char* what, const at::Tensor& tensor) {
      if (tensor.defined() && tensor.numel() > 0) all.emplace_back(what + piece, tensor);
    };
    add("first/", slot.first);
    add("second/", slot.second);
    add("master/", group_ && slot.steps.defined() ? slot.weight : slot.master);
    add("momentum/", slot.momentum);
    if (slot.steps.defined() && (!group_ || group_->rank() == 0))
      all.emplace_back("steps/" + slot.name, slot.steps);
  }
  return all;
}

void Optimizer::load(const OptimizerStateFiles& files) {
  const at::NoGradGuard no_grad;
  for (Slot& slot : slots_)
    slot.active = files.contains("steps/" + slot.name) || files.contains("momentum/" + slot.name);
  if (group_) make_buckets();
  for (Slot& slot : slots_) {
    if (!slot.active) continue;
    ensure_state(slot);
    const auto read = [&](const char* what, at::Tensor& tensor) {
      if (tensor.defined() && slot.count > 0)
        tensor.copy_(files.load(what + slot.name, slot.begin, slot.count).view_as(tensor));
    };
    if (slot.muon) {
      read("momentum/", slot.momentum);
    } else {
      read("first/", slot.first);
      read("second/", slot.second);
      slot.steps.copy_(files.load("steps/" + slot.name, 0, 1).squeeze(0));
      // Without a saved copy the parameters, which are loaded before, are the float32 weights themselves.
      if (slot.weight.defined() && (group_ || slot.master.defined())) {
        if (files.contains("master/" + slot.name))
          read("master/", slot.weight);
        else
          slot.weight.copy_(slot.parameter.detach()
                                .reshape({-1})
                                .narrow(0, slot.begin, slot.count)
                                .view_as(slot.weight));
      }
    }
    slot.active = false;
  }
}

namespace {

// `progress`: 0 after the warm-up, 1 at the end.
double after_warmup(Schedule schedule, double progress) {
  if (schedule == Schedule::constant) return 1;
  if (schedule == Schedule::linear) return std::max(0.0, 1 - progress);
  return std::max(0.0, 0.5 * (1 + std::cos(3.14159265358979323846 * progress)));
}

}  // namespace

double scheduled_rate(Schedule schedule, std::int64_t step, std::int64_t total,
                      double warmup_ratio) {
  const double warm = warmup_ratio * static_cast<double>(total), now = static_cast<double>(step);
  if (now < warm) return std::min(1.0, (now + 1) / warm);
  const double rest = static_cast<double>(total) - warm;
  return after_warmup(schedule, rest > 0 ? (now - warm) / rest : 1);
}

double transformers_scheduled_rate(Schedule schedule, std::int64_t step, std::int64_t total,
                                   double warmup_ratio) {
  const double warm = std::ceil(warmup_ratio * static_cast<double>(total)),
               now = static_cast<double>(step);
  if (now < warm) return now / std::max(1.0, warm);
  return after_warmup(schedule, (now - warm) / std::max(1.0, static_cast<double>(total) - warm));
}

}  // namespace dt2it::nn
