// SPDX-License-Identifier: Apache-2.0
// The finishing thread of CallService: what answers mean, retries, the store.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "core/calls/call_service_parts.hpp"
#include "core/calls/token_estimate.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace {

constexpr int kMostChanges = 8;     // of what is sent, by what a server refuses
constexpr int kSlowDownFactor = 5;  // a limit is no failure: so many times more attempts

// In [0, 1); only for spreading retries.
double jitter() {
  thread_local std::uint64_t state =
      std::hash<std::thread::id>{}(std::this_thread::get_id()) ^
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return static_cast<double>(state >> 11) * 0x1.0p-53;
}

}  // namespace

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

double retry_wait(const Endpoint& endpoint, int attempts, double told) {
  if (told >= 0) return told * (1 + 0.1 * jitter());
  const double own = endpoint.retry_delay_seconds * std::pow(2.0, std::min(attempts - 1, 40));
  return std::min(own, endpoint.max_retry_delay_seconds) * (1 - 0.25 * jitter());
}

void CallService::finish_all() {
  for (;;) {
    std::vector<std::shared_ptr<Call>> calls;
    std::vector<CallUse> uses;
    {
      std::unique_lock lock(arrived_mutex_);
      arrived_changed_.wait(
          lock, [&] { return over_ || !arrived_.empty() || uses_.size() >= kUsesAtOnce; });
      if (over_ && arrived_.empty() && uses_.empty()) return;
      arrived_changed_.wait_for(lock, std::chrono::duration<double>(kGather), [&] {
        return over_ || enough_arrived() || uses_.size() >= kUsesAtOnce;
      });
      calls.swap(arrived_);
      uses.swap(uses_);
    }
    std::vector<std::shared_ptr<Call>> ended;
    std::vector<const StoredCall*> records;
    for (std::shared_ptr<Call>& call : calls) {
      bool is_final = true;
      try {
        is_final = finish(*call);
      } catch (...) {
        call->error = std::current_exception();
        budget_.settle(call->reserved, {});
      }
      if (!is_final) continue;
      if (!call->error) {
        if (call->store) records.push_back(&call->record);
        uses.push_back(
            call->mllm->use(*call->request, call->key, call->record.reply.status, call->store));
      }
      ended.push_back(std::move(call));
    }
    try {
      if (!records.empty() || !uses.empty()) store().put(records, uses);
    } catch (...) {  // the disk is full, say: an answer that is not kept does not count
      for (const auto& call : ended)
        if (!call->error) call->error = std::current_exception();
    }
    for (const auto& call : ended) release(call);
  }
}

// The end of a call without an answer that could be kept.
bool CallService::settle(Call& call, Status status, const std::string& detail,
                         const Budget::Amount& spent) {
  budget_.settle(call.reserved, spent);
  call.record.reply.status = status;
  call.record.reply.detail = detail;
  Gate& gate = *call.mllm->gate;
  std::string stopped;
  {
    std::lock_guard lock(gate.mutex);
    gate.without_answer = status == Status::unavailable ? gate.without_answer + 1 : 0;
    if (gate.outage_limit > 0 && gate.without_answer >= gate.outage_limit && gate.stopped.empty())
      stopped = fmt::format(
          "{} gave no answer to {} calls in a row, the last: {}. What is done is kept; run again "
          "to go on",
          gate.name, gate.without_answer, detail);
  }
  if (!stopped.empty()) {
    stop(gate, stopped);
    call.error = std::make_exception_ptr(ModelError(stopped));
  }
  return true;
}

void CallService::stop(Gate& gate, const std::string& reason) {
  std::vector<std::shared_ptr<Call>> waiting;
  {
    std::lock_guard lock(gate.mutex);
    if (gate.stopped.empty()) gate.stopped = reason;
    for (auto& call : gate.ready) waiting.push_back(std::move(call));
    for (auto& [time, call] : gate.delayed) waiting.push_back(std::move(call));
    gate.ready.clear();
    gate.delayed.clear();
  }
  for (const auto& call : waiting) {
    call->error = std::make_exception_ptr(ModelError(reason));
    budget_.settle(call->reserved, {});
    release(call);
  }
}

bool CallService::finish(Call& call) {
  Managed& mllm = *call.mllm;
  const Endpoint& endpoint = mllm.endpoint;
  HttpAnswer& answer = call.exchange.answer;
  blot_out(answer.body, endpoint.secret);
  blot_out(answer.problem, endpoint.secret);
  WireReading reading = mllm.mllm->read(*call.request, call.form, answer);
  blot_out(reading, endpoint.secret);
  std::string request_id = answer.header("x-request-id");
  if (request_id.empty()) request_id = answer.header("request-id");
  blot_out(request_id, endpoint.secret);
  const std::string named = request_id.empty() ? "" : fmt::format(" (request {})", request_id);

  switch (reading.next) {
    case WireReading::Next::done: break;
    case WireReading::Next::stop:
      budget_.settle(call.reserved, {});
      stop(*mllm.gate, fmt::format("{} cannot be used: {}{}. What is done is kept", mllm.gate->name,
                                   reading.problem, named));
      {
        std::lock_guard lock(mllm.gate->mutex);
        call.error = std::make_exception_ptr(ModelError(mllm.gate->stopped));
      }
      return true;
    case WireReading::Next::changed: {
      if (++call.changes > kMostChanges)
        return settle(call, Status::invalid, reading.problem + named);
      WireRequest wire = mllm.mllm->write(*call.request);
      if (wire.status != Status::ok) return settle(call, wire.status, wire.detail);
      call.exchange.body = std::move(wire.body);
      call.form = wire.form;
      send(call.shared_from_this(), 0);
      return false;
    }
    case WireReading::Next::retry: {
      const double asked = answer.status == 0 ? -1.0 : told_wait(answer, unix_seconds());
      if (asked > kLongestToldWait) {
        budget_.settle(call.reserved, {});
        stop(*mllm.gate,
             fmt::format(
                 "{} asks to wait {:.0f} s: {}{}. What is done is kept; run again then to go on",
                 mllm.gate->name, asked, reading.problem, named));
        std::lock_guard lock(mllm.gate->mutex);
        call.error = std::make_exception_ptr(ModelError(mllm.gate->stopped));
        return true;
      }
      const bool limited = answer.status == 429 || answer.status == 503 || answer.status == 529;
      call.limited += limited;
      call.failures += !limited;
      const int attempts = call.failures + call.limited;
      if (call.failures > endpoint.retries || call.limited > endpoint.retries * kSlowDownFactor)
        return settle(call, Status::unavailable,
                      attempts == 1 ? reading.problem + named
                                    : fmt::format("{} attempts, the last: {}{}", attempts,
                                                  reading.problem, named));
      const double wait = retry_wait(endpoint, attempts, asked);
      log_(LogLevel::debug, fmt::format("{}: {}{}; asking again in {:.2f} s", mllm.name,
                                        reading.problem, named, wait));
      send(call.shared_from_this(), wait);
      return false;
    }
  }

  StoredCall& record = call.record;
  record.reply = std::move(reading.reply);
  ChatReply& reply = record.reply;
  if (!reply.detail.empty()) reply.detail += named;
  // Not kept: it may be mended in the configuration, or by another attempt. A few servers count it
  // all the same.
  if (answer.status != 200 || reply.status == Status::invalid ||
      reply.status == Status::unavailable)
    return settle(call, reply.status, reply.detail,
                  {cost_of(reply.usage, endpoint.prices, false),
                   reply.usage.prompt_tokens + reply.usage.completion_tokens});
  record.usage_known = reading.usage_known;
  if (!record.usage_known) {
    reply.usage.prompt_tokens = call.prompt_tokens;
    reply.usage.completion_tokens = static_cast<std::int64_t>(reply.text.size() / 4);
  }
  record.key = call.key;
  record.identity = endpoint.identity;
  record.model = endpoint.model;
  record.request = std::move(call.request_text);
  record.answer = std::move(answer.body);
  record.request_id = std::move(request_id);
  record.cost = cost_of(reply.usage, endpoint.prices, false);
  record.seconds = call.exchange.ended - call.exchange.started;
  record.time = static_cast<std::int64_t>(unix_seconds());
  call.store = true;
  const std::int64_t tokens = reply.usage.prompt_tokens + reply.usage.completion_tokens;
  budget_.settle(call.reserved, {record.cost, tokens});
  std::lock_guard lock(mllm.gate->mutex);
  mllm.gate->without_answer = 0;
  mllm.gate->pace.correct_tokens(steady_seconds(), static_cast<double>(tokens) - call.estimate);
  if (record.usage_known) {
    Gate& gate = *mllm.gate;
    const auto estimate = static_cast<double>(call.prompt_tokens);
    // Means that soon forget their first guess.
    const double share = std::max(0.02, 1.0 / ++gate.counted);
    gate.prompt_ratio +=
        share * (static_cast<double>(reply.usage.prompt_tokens) / estimate - gate.prompt_ratio);
    gate.completion_tokens +=
        share * (static_cast<double>(reply.usage.completion_tokens) - gate.completion_tokens);
  }
  return true;
}

}  // namespace dt2it
