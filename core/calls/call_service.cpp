// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_service.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/calls/call_service_parts.hpp"
#include "core/calls/token_estimate.hpp"
#include "dt2it/error.hpp"
#include "dt2it/request_key.hpp"

namespace dt2it {

namespace {

class Probed final : public Mllm {
 public:
  Probed(decltype(CallOptions::probe) probe, std::shared_ptr<RemoteMllm> mllm, std::string name)
      : probe_(std::move(probe)), mllm_(std::move(mllm)), name_(std::move(name)) {}
  ChatReply chat(const ChatRequest& request) override {
    probe_(name_, mllm_->endpoint(), request);
    return {};
  }

 private:
  const decltype(CallOptions::probe) probe_;
  const std::shared_ptr<RemoteMllm> mllm_;
  const std::string name_;
};

// One more as long as it lives.
class Counted {
 public:
  explicit Counted(std::atomic<int>& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int>& count_;
};

}  // namespace

CallService::CallService(CallOptions options, Log log)
    : options_(std::move(options)),
      log_(std::move(log)),
      budget_(options_.max_cost, options_.max_tokens) {}

CallService::~CallService() {
  loop_.reset();  // no more arrivals
  {
    std::lock_guard lock(arrived_mutex_);
    over_ = true;
  }
  arrived_changed_.notify_all();
  if (finisher_.joinable()) finisher_.join();
}

CallStore& CallService::store() {
  std::call_once(store_once_, [this] { store_ = std::make_unique<CallStore>(options_.store); });
  return *store_;
}

std::shared_ptr<Mllm> CallService::manage(std::shared_ptr<Mllm> mllm, const std::string& stage,
                                          const std::string& name) {
  auto remote = std::dynamic_pointer_cast<RemoteMllm>(mllm);
  if (!remote) return mllm;
  if (options_.probe) return std::make_shared<Probed>(options_.probe, std::move(remote), name);
  const Endpoint& endpoint = remote->endpoint();
  if (budget_.caps_cost() && endpoint.prices.date.empty())
    throw ConfigError(
        fmt::format("[mllms.{}] has no prices, so that a cap on costs cannot hold (set "
                    "price_input, price_output and "
                    "price_date; 0 where nothing is paid)",
                    name));
  store();
  std::call_once(loop_once_, [this] {
    loop_ =
        std::make_unique<HttpLoop>([this](HttpLoop& loop, double now) { return turn(loop, now); },
                                   [this](std::vector<Exchange*>& finished) { arrived(finished); });
    finisher_ = std::thread([this] { finish_all(); });
    batches_ = std::make_unique<Batches>(
        *store_, [this](const auto&... what) { return exchange(what...); },
        [this](const CallKey& key, double cost, std::int64_t tokens) {
          give_back(key, {cost, tokens});
        },
        log_, options_.batches);
  });
  return std::make_shared<Managed>(*this, std::move(remote), stage, name);
}

std::shared_ptr<CallService::Gate> CallService::gate(const Endpoint& endpoint) {
  std::lock_guard lock(gates_mutex_);
  std::shared_ptr<Gate>& gate = gates_[endpoint.url + "\n" + endpoint.model];
  if (!gate) gate = std::make_shared<Gate>(endpoint);
  return gate;
}

// ---------------------------------------------------------------- the caller's thread

ChatReply CallService::ask(Managed& mllm, const ChatRequest& request) {
  const auto invalid = [](Status status, const std::string& detail) {
    ChatReply reply;
    reply.status = status;
    reply.detail = detail;
    return reply;
  };
  if (request.messages.empty()) return invalid(Status::invalid, "the request has no messages");
  std::string text = request_text(request);
  const CallKey key = call_key(mllm.endpoint.identity, text);
  auto call = std::make_shared<Call>();
  {
    InFlight& here = shard(key);
    std::unique_lock lock(here.mutex);
    std::shared_ptr<Call>& other = here.calls[key];
    if (other) {  // identical, on its way: its answer is ours too
      const std::shared_ptr<Call> first = other;
      lock.unlock();
      first->wait();
      if (first->error) std::rethrow_exception(first->error);
      if (first->record.reply.detail == kWaitsForBatch) {
        if (!CollectScope::current()) return ask(mllm, request);
        CollectScope::current()->add();
        return first->record.reply;
      }
      note_use(mllm.use(request, key, first->record.reply.status, false));
      return first->record.reply;
    }
    other = call;
  }
  call->mllm = &mllm;
  call->request = &request;
  call->key = key;
  call->request_text = std::move(text);
  try {
    if (std::optional<ChatReply> known = store().find(key)) {
      call->record.reply = std::move(*known);
      note_use(mllm.use(request, key, call->record.reply.status, false));
      release(call);
      return call->record.reply;
    }
    if (options_.offline) {
      call->record.reply = invalid(
          Status::unavailable,
          fmt::format("offline, and no stored answer to call {}", hex_of(key).substr(0, 16)));
      release(call);
      return call->record.reply;
    }
    {
      std::lock_guard lock(mllm.gate->mutex);
      if (!mllm.gate->stopped.empty()) throw ModelError(mllm.gate->stopped);
    }
    WireRequest wire = mllm.mllm->write(request);
    if (wire.status != Status::ok) {
      call->record.reply = invalid(wire.status, wire.detail);
      note_use(mllm.use(request, key, wire.status, false));
      release(call);
      return call->record.reply;
    }
    const Endpoint& endpoint = mllm.endpoint;
    const bool as_batch = endpoint.batch && CollectScope::current();
    Usage usage;
    call->prompt_tokens = prompt_tokens(request, endpoint.image_tokens);
    {
      std::lock_guard lock(mllm.gate->mutex);
      // A little more than expected: the cap must hold with many in flight.
      usage.prompt_tokens =
          std::llround(1.1 * static_cast<double>(call->prompt_tokens) * mllm.gate->prompt_ratio);
      usage.completion_tokens = request.sampling.max_tokens ? *request.sampling.max_tokens
                                : endpoint.max_tokens > 0
                                    ? endpoint.max_tokens
                                    : std::llround(4 * mllm.gate->completion_tokens);
    }
    call->estimate = static_cast<double>(usage.prompt_tokens + usage.completion_tokens);
    const Budget::Amount reserved{cost_of(usage, endpoint.prices, as_batch),
                                  usage.prompt_tokens + usage.completion_tokens};
    if (!reserve(key, reserved, as_batch)) {
      CollectScope::current()->add();
      call->record.reply = invalid(Status::unavailable, kWaitsForBatch);
      release(call);
      return call->record.reply;
    }
    if (as_batch) {
      CallStore::Waiting waiting;
      waiting.call.key = key;
      waiting.call.identity = endpoint.identity;
      waiting.call.model = endpoint.model;
      waiting.call.request = std::move(call->request_text);
      waiting.call.purpose = request.purpose;
      waiting.use = mllm.use(request, key, Status::ok, true);
      waiting.form = wire.form;
      bool waits = false;
      try {
        waits = batches_->collect(mllm.mllm, std::move(waiting), wire, call->record.reply);
      } catch (...) {
        give_back(key, {});
        throw;
      }
      if (waits) {
        CollectScope::current()->add();
        call->record.reply = invalid(Status::unavailable, kWaitsForBatch);
      } else {
        note_use(mllm.use(request, key, call->record.reply.status, false));
        give_back(key, {});
      }
      release(call);
      return call->record.reply;
    }
    call->reserved = reserved;
    call->exchange.channel = mllm.channel;
    call->exchange.url = std::move(wire.url);
    call->exchange.body = std::move(wire.body);
    call->form = wire.form;
    call->exchange.owner = call.get();
    call->record.purpose = request.purpose;
  } catch (...) {
    call->error = std::current_exception();
    release(call);
    throw;
  }
  const Counted waiting(under_way_);
  send(call, 0);
  call->wait();
  if (call->error) std::rethrow_exception(call->error);
  return call->record.reply;
}

// Callers that wait for it go on; from now on the store answers.
void CallService::release(const std::shared_ptr<Call>& call) {
  {
    InFlight& here = shard(call->key);
    std::lock_guard lock(here.mutex);
    here.calls.erase(call->key);
  }
  {
    std::lock_guard lock(call->mutex);
    call->done = true;
  }
  call->changed.notify_all();
}

void CallService::note_use(CallUse use) {
  {
    std::lock_guard lock(arrived_mutex_);
    uses_.push_back(std::move(use));
    if (uses_.size() % kUsesAtOnce != 0) return;  // they go along with the next answers
  }
  arrived_changed_.notify_one();
}

void CallService::send(const std::shared_ptr<Call>& call, double delay) {
  Gate& gate = *call->mllm->gate;
  bool stopped = false;
  {
    std::lock_guard lock(gate.mutex);
    if (!gate.stopped.empty()) {
      call->error = std::make_exception_ptr(ModelError(gate.stopped));
      stopped = true;
    } else if (delay > 0) {
      gate.delayed.emplace(steady_seconds() + delay, call);
    } else if (call->failures + call->changes > 0) {
      gate.ready.push_front(call);
    } else {
      gate.ready.push_back(call);
    }
  }
  if (stopped) {
    budget_.settle(call->reserved, {});
    return release(call);
  }
  loop_->wake();
}

// ---------------------------------------------------------------- the HTTP thread

double CallService::turn(HttpLoop& loop, double now) {
  double wait = 3601;
  {
    std::lock_guard lock(plain_mutex_);
    for (Exchange* exchange : plain_) loop.start(*exchange);
    plain_.clear();
  }
  std::lock_guard gates_lock(gates_mutex_);
  for (auto& [name, gate] : gates_) {
    std::lock_guard lock(gate->mutex);
    while (!gate->delayed.empty() && gate->delayed.begin()->first <= now) {
      gate->ready.push_front(std::move(gate->delayed.begin()->second));
      gate->delayed.erase(gate->delayed.begin());
    }
    if (!gate->delayed.empty()) wait = std::min(wait, gate->delayed.begin()->first - now);
    while (!gate->ready.empty()) {
      const double here = gate->pace.wait(now);
      if (here > 0) {
        wait = std::min(wait, here);
        break;
      }
      const std::shared_ptr<Call> call = std::move(gate->ready.front());
      gate->ready.pop_front();
      gate->pace.started(now, call->estimate);
      call->at_once = gate->pace.in_flight();
      call->self = call;
      loop.start(call->exchange);
    }
  }
  return wait;
}

void CallService::arrived(std::vector<Exchange*>& finished) {
  std::vector<std::shared_ptr<Call>> calls;
  for (Exchange* exchange : finished) {
    if (!exchange->owner) {
      std::lock_guard lock(plain_mutex_);
      exchange->over = true;
      plain_changed_.notify_all();
      continue;
    }
    auto& call = *static_cast<Call*>(exchange->owner);
    const HttpAnswer& answer = exchange->answer;
    Gate& gate = *call.mllm->gate;
    Pace::End end;
    end.started = exchange->started;
    end.at_once = call.at_once;
    end.served = answer.status == 200;
    end.slow_down = answer.status == 429 || answer.status == 503 || answer.status == 529;
    if (end.slow_down) end.wait_seconds = told_wait(answer, unix_seconds());
    {
      std::lock_guard lock(gate.mutex);
      gate.pace.ended(exchange->ended, end);
      if (answer.status != 0) gate.pace.read_headers(exchange->ended, answer);
    }
    calls.push_back(std::move(call.self));
  }
  bool news = false;
  {
    std::lock_guard lock(arrived_mutex_);
    news = arrived_.empty();
    arrived_.insert(arrived_.end(), std::make_move_iterator(calls.begin()),
                    std::make_move_iterator(calls.end()));
    news = news || enough_arrived();
  }
  if (news) arrived_changed_.notify_one();
}

// ---------------------------------------------------------------- batches

bool CallService::finish_batches(const std::atomic<bool>& stop) {
  return !batches_ || batches_->finish(stop);
}

// Sets aside what a call may cost. False: not before what is set aside for batches is settled; the call is made
// when they are over. Throws when the cap is reached.
bool CallService::reserve(const CallKey& key, const Budget::Amount& amount, bool as_batch) {
  for (bool looked = false;; looked = true) {
    {
      // One step: nobody may see the budget as used up before they see what for.
      std::lock_guard lock(set_aside_mutex_);
      if (as_batch && (set_aside_.contains(key) || budget_.reserve(amount, false))) {
        set_aside_.emplace(key, amount);
        return true;
      }
      if ((as_batch || looked) && !set_aside_.empty() && CollectScope::current()) return false;
    }
    if (budget_.reserve(amount)) {  // waits for what calls in flight leave over
      if (!as_batch) return true;
      budget_.settle(amount, {});
    } else if (as_batch || looked) {
      throw ModelError(
          fmt::format("the run's cap is reached: {}. What is done is kept; raise the cap and run "
                      "again to go on",
                      budget_.text()));
    }
  }
}

// Of a call whose batch is over.
void CallService::give_back(const CallKey& key, const Budget::Amount& spent) {
  std::lock_guard lock(set_aside_mutex_);
  const auto found = set_aside_.find(key);
  if (found == set_aside_.end()) return;
  budget_.settle(found->second, spent, false);
  set_aside_.erase(found);
}

HttpAnswer CallService::exchange(const Endpoint& endpoint, const Batches::Sending& sending) {
  for (int attempt = 0;; ++attempt) {
    if (sending.to &&
        (std::fseek(sending.to, 0, SEEK_SET) != 0 || ftruncate(fileno(sending.to), 0) != 0))
      throw Error(
          fmt::format("what an endpoint sends cannot be written: {}", std::strerror(errno)));
    Exchange exchange;
    exchange.channel = loop_->channel(endpoint);
    exchange.url = sending.url;
    exchange.get = sending.body.empty();
    if (!exchange.get) exchange.content_type = sending.content_type;
    exchange.body = sending.body;
    exchange.large = sending.large;
    exchange.once = static_cast<bool>(sending.made);
    exchange.to = sending.to;
    std::unique_lock lock(plain_mutex_);
    plain_.push_back(&exchange);
    loop_->wake();
    plain_changed_.wait(lock, [&] { return exchange.over; });
    HttpAnswer& answer = exchange.answer;
    blot_out(answer.body, endpoint.secret);
    blot_out(answer.problem, endpoint.secret);
    const bool passing = answer.status == 0 || answer.status == 408 || answer.status == 409 ||
                         answer.status == 429 || answer.status >= 500;
    if (!passing || answer.hopeless || attempt >= endpoint.retries) return std::move(answer);
    lock.unlock();
    const double wait = retry_wait(endpoint, attempt + 1, told_wait(answer, unix_seconds()));
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(wait, kLongestToldWait)));
    if (sending.made && sending.made()) return std::move(answer);
  }
}

// ---------------------------------------------------------------- the ledger

std::vector<LedgerRow> CallService::ledger(const std::string& stage) {
  if (!store_) return {};
  {
    std::unique_lock lock(arrived_mutex_);
    if (const std::vector<CallUse> uses = std::exchange(uses_, {}); !uses.empty()) {
      lock.unlock();
      store_->put({}, uses);
    }
  }
  return store_->ledger(stage);
}

void CallService::count_spent(const std::vector<std::string>& stages) {
  if (options_.max_cost <= 0 && options_.max_tokens <= 0) return;
  for (const std::string& stage : stages)
    for (const LedgerRow& row : store().ledger(stage))
      budget_.spent_before({row.cost, row.prompt_tokens + row.completion_tokens});
}

}  // namespace dt2it
