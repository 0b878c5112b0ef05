// SPDX-License-Identifier: Apache-2.0
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <string_view>

#include "core/nn/cpu_attention.hpp"
#include "core/nn/ops.hpp"

namespace dt2it::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

at::Tensor index_of(const std::vector<std::int64_t>& values, at::Device device,
                    at::ScalarType type = at::kLong) {
  at::Tensor host = at::empty({static_cast<std::int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), host.data_ptr<std::int64_t>());
  return host.to(device, type);
}

// Sequences of unequal length for one call of the flash kernels. The causal ones are aligned at their ends, as
// AttentionRun::own is.
struct VarlenCall {
  bool causal = false;
  at::Tensor query_rows, key_rows;  // undefined: all rows as they are
  at::Tensor query_ends, key_ends;  // cumulative lengths, int32, beginning with 0
  std::int64_t longest_query = 0, longest_key = 0;

  at::Tensor queries(const at::Tensor& x) const {
    return query_rows.defined() ? x.index_select(0, query_rows) : x;
  }
  at::Tensor keys(const at::Tensor& x) const {
    return key_rows.defined() ? x.index_select(0, key_rows) : x;
  }
};

class CallBuilder {
 public:
  explicit CallBuilder(bool causal) : causal_(causal) {}
  void add(std::int64_t query, std::int64_t count, std::int64_t key, std::int64_t key_count) {
    // Neighbours that see the same keys are one sequence.
    if (!causal_ && !keys_.empty() && last_key_ == key && last_count_ == key_count &&
        queries_.back() + 1 == query) {
      append(queries_, query, count);
      query_ends_.back() += count;
    } else {
      append(queries_, query, count);
      append(keys_, key, key_count);
      query_ends_.push_back(query_ends_.back() + count);
      key_ends_.push_back(key_ends_.back() + key_count);
    }
    last_key_ = key;
    last_count_ = key_count;
  }
  bool empty() const { return queries_.empty(); }
  VarlenCall build(at::Device device, std::int64_t queries, std::int64_t keys) const {
    VarlenCall call;
    call.causal = causal_;
    if (!whole(queries_, queries)) call.query_rows = index_of(queries_, device);
    if (!whole(keys_, keys)) call.key_rows = index_of(keys_, device);
    call.query_ends = index_of(query_ends_, device, at::kInt);
    call.key_ends = index_of(key_ends_, device, at::kInt);
    for (std::size_t i = 1; i < query_ends_.size(); ++i) {
      call.longest_query = std::max(call.longest_query, query_ends_[i] - query_ends_[i - 1]);
      call.longest_key = std::max(call.longest_key, key_ends_[i] - key_ends_[i - 1]);
    }
    return call;
  }

 private:
  static void append(std::vector<std::int64_t>& list, std::int64_t begin, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) list.push_back(begin + i);
  }
  static bool whole(const std::vector<std::int64_t>& list, std::int64_t size) {
    if (static_cast<std::int64_t>(list.size()) != size) return false;
    for (std::size_t i = 0; i < list.size(); ++i)
      if (list[i] != static_cast<std::int64_t>(i)) return false;
    return true;
  }
  bool causal_;
  std::int64_t last_key_ = -1, last_count_ = -1;
  std::vector<std::int64_t> queries_, keys_, query_ends_{0}, key_ends_{0};
};

}  // namespace

// At most two calls: one for the keys that all queries of a run see, one for the causal ones.
struct Attention::Device {
  std::vector<VarlenCall> calls;
};

namespace {

struct CpuAttention : torch::autograd::Function<CpuAttention> {
  // The plan outlives the graph: models keep it in the packed batch, which the caller holds until the backward pass; a
  // copy in the node makes that no condition.
  struct Held : torch::CustomClassHolder {
    explicit Held(AttentionPlan plan) : plan(std::move(plan)) {}
    AttentionPlan plan;
  };

  static cpu::AttentionShape shape_of(const at::Tensor& q, const at::Tensor& k,
                                      const at::Tensor& v) {
    return {q.size(1),
            k.size(1),
            q.size(2),
            q.stride(0),
            k.stride(0),
            v.stride(0),
            static_cast<float>(1 / std::sqrt(static_cast<double>(q.size(2))))};
  }
  static at::Tensor run(const AttentionPlan& plan, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v, at::Tensor* log_sums) {
    at::Tensor out = at::empty({q.size(0), q.size(1) * q.size(2)}, q.options());
    if (log_sums) *log_sums = at::empty({q.size(0), q.size(1)}, q.options());
    cpu::attention(plan, shape_of(q, k, v), q.const_data_ptr<float>(), k.const_data_ptr<float>(),
                   v.const_data_ptr<float>(), out.data_ptr<float>(),
                   log_sums ? log_sums->data_ptr<float>() : nullptr);
    return out;
  }

  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<Held>& held) {
    at::Tensor log_sums;
    at::Tensor out = run(held->plan, q, k, v, &log_sums);
    context->save_for_backward({q, k, v, out, log_sums});
    context->saved_data["plan"] = c10::IValue::make_capsule(held);
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const auto held =
        c10::static_intrusive_pointer_cast<Held>(context->saved_data["plan"].toCapsule());
    const at::Tensor dout = gradients[0].contiguous();
    at::Tensor dq = at::zeros(q.sizes(), q.options()), dk = at::zeros(k.sizes(), k.options());
    at::Tensor dv = at::zeros(v.sizes(), v.options());
    cpu::attention_backward(held->plan, shape_of(q, k, v), q.const_data_ptr<float>(),
                            k.const_data_ptr<float>(), v.const_data_ptr<float>(),
                            saved[3].const_data_ptr<float>(), saved[4].const_data_ptr<float>(),
                            dout.const_data_ptr<float>(), dq.data_ptr<float>(),
                            dk.data_ptr<float>(), dv.data_ptr<float>());
    return {dq, dk, dv, at::Tensor()};
  }
};

// Flash attention for sequences of unequal length (Dao 2023). Parts of a softmax join by their log-sums, and a backward
// kernel that is given the joined output and log-sums finds its part of the gradient.
struct FlashAttention : torch::autograd::Function<FlashAttention> {
  struct Held : torch::CustomClassHolder {
    explicit Held(std::vector<VarlenCall> calls) : calls(std::move(calls)) {}
    std::vector<VarlenCall> calls;
  };

  // Output [queries, heads, dim] and log-sums [heads, queries].
  static std::pair<at::Tensor, at::Tensor> run(const std::vector<VarlenCall>& calls,
                                               const at::Tensor& q, const at::Tensor& k,
                                               const at::Tensor& v) {
    at::Tensor out, sums;
    for (const VarlenCall& call : calls) {
      const auto part = at::_flash_attention_forward(
          call.queries(q), call.keys(k), call.keys(v), call.query_ends, call.key_ends,
          call.longest_query, call.longest_key, 0.0, call.causal, false);
      const at::Tensor part_out = std::get<0>(part), part_sums = std::get<1>(part);
      if (!out.defined()) {  // the first call has every query
        out = part_out;
        sums = part_sums;
        continue;
      }
      const auto select = [&](const at::Tensor& x, std::int64_t axis) {
        return call.query_rows.defined() ? x.index_select(axis, call.query_rows) : x;
      };
      const at::Tensor before = select(sums, 1), joined = at::logaddexp(before, part_sums);
      const auto weight = [&](const at::Tensor& log_sum) {
        return (log_sum - joined).exp().t().unsqueeze(-1);
      };
      const at::Tensor mixed =
          (select(out, 0) * weight(before) + part_out * weight(part_sums)).to(out.scalar_type());
      if (call.query_rows.defined()) {
        out.index_copy_(0, call.query_rows, mixed);
        sums.index_copy_(1, call.query_rows, joined);
      } else {
        out = mixed;
        sums = joined;
      }
    }
    return {out, sums};
  }

  static at::Tensor forward(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const c10::intrusive_ptr<Held>& held) {
    auto [out, sums] = run(held->calls, q, k, v);
    context->save_for_backward({q, k, v, out, sums});
    context->saved_data["calls"] = c10::IValue::make_capsule(held);
    return out;
  }
  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &sums = saved[4];
    const auto held =
        c10::static_intrusive_pointer_cast<Held>(context->saved_data["calls"].toCapsule());
    at::Tensor dq = at::zeros(q.sizes(), q.options()), dk = at::zeros(k.sizes(), k.options());
    at::Tensor dv = at::zeros(v.sizes(), v.options());
    const at::Tensor state = at::zeros({2}, q.options().dtype(at::kUInt64)),
                     unused = at::empty({0}, q.options());
    const auto add = [](at::Tensor& to, const at::Tensor& rows, const at::Tensor& part) {
      if (rows.defined())
        to.index_add_(0, rows, part);
      else
        to.add_(part);
    };
    for (const VarlenCall& call : held->calls) {
      const at::Tensor own_sums =
          call.query_rows.defined() ? sums.index_select(1, call.query_rows) : sums;
      const auto [to_q, to_k, to_v] = at::_flash_attention_backward(
          call.queries(gradients[0].contiguous()), call.queries(q), call.keys(k), call.keys(v),
          call.queries(out), own_sums.contiguous(), call.query_ends, call.key_ends,
          call.longest_query, call.longest_key, 0.0, call.causal, state, unused);
      add(dq, call.query_rows, to_q);
      add(dk, call.key_rows, to_k);
      add(dv, call.key_rows, to_v);
    }
    return {dq, dk, dv, at::Tensor()};
  }
};

// Run by run with a mask: for types and devices without a kernel of their own.
at::Tensor masked_attention(const AttentionPlan& plan, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
  std::vector<at::Tensor> outputs;
  const auto batched = [](const at::Tensor& x) { return x.transpose(0, 1).unsqueeze(0); };
  for (const AttentionRun& run : plan.runs) {
    const auto keys_of = [&](const at::Tensor& x) {
      return at::cat(at::TensorList{x.narrow(0, run.full, run.full_count),
                                    x.narrow(0, run.own, run.own_count)});
    };
    const at::TensorOptions whole = at::TensorOptions().dtype(at::kLong).device(q.device());
    const at::Tensor last =
        at::arange(run.count, whole).unsqueeze(1) + (run.full_count + run.own_count - run.count);
    const at::Tensor mask = at::arange(run.full_count + run.own_count, whole).unsqueeze(0) <=
                            (run.own_count == 0 ? last + run.count : last);
    const at::Tensor out = at::scaled_dot_product_attention(
        batched(q.narrow(0, run.query, run.count)), batched(keys_of(k)), batched(keys_of(v)), mask,
        0.0, false, std::nullopt, q.size(1) != k.size(1));
    outputs.push_back(out.squeeze(0).transpose(0, 1).reshape({run.count, q.size(1) * q.size(2)}));
  }
  return at::cat(outputs);
}

at::Tensor dense_heads(const at::Tensor& x) {
  return x.stride(2) == 1 && x.stride(1) == x.size(2) ? x : x.contiguous();
}

}  // namespace

Attention::Attention(AttentionPlan plan) : plan_(std::move(plan)) {}
Attention::~Attention() = default;

at::Tensor Attention::operator()(const at::Tensor& q_in, const at::Tensor& k_in,
                                 const at::Tensor& v_in) const {
  const bool records = at::GradMode::is_enabled() &&
                       (q_in.requires_grad() || k_in.requires_grad() || v_in.requires_grad());
  if (q_in.device().is_cuda()) return on_cuda(q_in, k_in, v_in);
  if (q_in.scalar_type() != at::kFloat) {  // short types are read, the arithmetic is float32
    const at::Tensor q = q_in.to(at::kFloat), k = k_in.to(at::kFloat), v = v_in.to(at::kFloat);
    return (*this)(q, k, v).to(q_in.scalar_type());
  }
  const at::Tensor q = dense_heads(q_in), k = dense_heads(k_in), v = dense_heads(v_in);
  if (!records) return CpuAttention::run(plan_, q, k, v, nullptr);
  return CpuAttention::apply(q, k, v, c10::make_intrusive<CpuAttention::Held>(plan_));
}

at::Tensor Attention::on_cuda(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) const {
  static std::atomic<bool> refused{false};  // by a GPU older than Ampere
  const bool flash = !refused &&
                     (q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf) &&
                     q.size(2) % 8 == 0 && q.size(2) <= 256;
  if (!flash) return masked_attention(plan_, q, k, v);
  if (!device_) {
    CallBuilder own(true), full(false);
    for (const AttentionRun& run : plan_.runs) {
      if (run.own_count > 0) own.add(run.query, run.count, run.own, run.own_count);
      if (run.full_count > 0) full.add(run.query, run.count, run.full, run.full_count);
    }
    device_ = std::make_unique<Device>();
    for (const CallBuilder* builder : {&own, &full})
      if (!builder->empty())
        device_->calls.push_back(builder->build(q.device(), q.size(0), k.size(0)));
  }
  const auto held = c10::make_intrusive<FlashAttention::Held>(device_->calls);
  const bool records =
      at::GradMode::is_enabled() && (q.requires_grad() || k.requires_grad() || v.requires_grad());
  try {
    const at::Tensor out = records ? FlashAttention::apply(q, k, v, held)
                                   : FlashAttention::run(device_->calls, q, k, v).first;
    return out.reshape({q.size(0), q.size(1) * q.size(2)});
  } catch (const c10::Error& error) {
    if (std::string_view(error.what_without_backtrace()).find("FlashAttention only supports") ==
        std::string_view::npos)
      throw;
    refused = true;
    return masked_attention(plan_, q, k, v);
  }
}

at::Tensor reference_attention(const AttentionPlan& plan, const at::Tensor& q, const at::Tensor& k,
                               const at::Tensor& v) {
  return masked_attention(plan, q, k, v);
}

}  // namespace dt2it::nn
