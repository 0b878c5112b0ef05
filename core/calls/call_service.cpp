// SPDX-License-Identifier: Apache-2.0
#include "core/calls/call_service.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <deque>
#include <map>

#include "core/calls/pace.hpp"
#include "core/calls/token_estimate.hpp"
#include "dt2it/error.hpp"
#include "dt2it/request_key.hpp"

namespace dt2it {

namespace {

constexpr double kLongestToldWait = 600;  // seconds; a server that asks for more counts as gone
constexpr int kMostChanges = 8;           // of what is sent, by what a server refuses
constexpr std::size_t kUsesAtOnce = 1024;
constexpr int kSlowDownFactor = 5;        // a limit is no failure: so many times more attempts

double unix_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void blot_out(std::string& text, const std::string& secret) {
  if (secret.empty()) return;
  for (std::size_t at = 0; (at = text.find(secret, at)) != std::string::npos;)
    text.replace(at, secret.size(), "[key]");
}

// In [0, 1); only for spreading retries.
double jitter() {
  thread_local std::uint64_t state =
      std::hash<std::thread::id>{}(std::this_thread::get_id()) ^
      static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  state = state * 6364136223846793005ULL + 1442695040888963407ULL;
  return static_cast<double>(state >> 11) * 0x1.0p-53;
}

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

}  // namespace

struct CallService::Gate {
  explicit Gate(const Endpoint& endpoint)
      : name(fmt::format("{} (model {})", endpoint.url, endpoint.model)),
        outage_limit(endpoint.outage_limit),
        pace(endpoint) {}

  const std::string name;
  const int outage_limit;
  std::mutex mutex;  // guards what follows
  Pace pace;
  std::deque<std::shared_ptr<Call>> ready;
  std::multimap<double, std::shared_ptr<Call>> delayed;  // by the time from which they may go
  std::string stopped;  // why no call is made any more; empty: calls are made
  int without_answer = 0;
  double counted = 0;              // answers whose usage the server said
  double prompt_ratio = 1;         // tokens that servers count, to our estimate
  double completion_tokens = 512;  // mean of late
};

class CallService::Managed final : public Mllm {
 public:
  Managed(CallService& service, std::shared_ptr<RemoteMllm> mllm, std::string stage, std::string name)
      : service(service), mllm(std::move(mllm)), stage(std::move(stage)), name(std::move(name)),
        endpoint(this->mllm->endpoint()), gate(service.gate(endpoint)) {}
  ChatReply chat(const ChatRequest& request) override { return service.ask(*this, request); }

  CallUse use(const ChatRequest& request, const CallKey& key, Status status, bool paid) const {
    return {stage, name, endpoint.url, endpoint.model, request.purpose, key, status, paid};
  }

  CallService& service;
  const std::shared_ptr<RemoteMllm> mllm;
  const std::string stage, name;
  const Endpoint& endpoint;
  const std::shared_ptr<Gate> gate;
};

struct CallService::Call : std::enable_shared_from_this<Call> {
  Managed* mllm = nullptr;  // lives while its caller waits
  const ChatRequest* request = nullptr;
  CallKey key;
  std::string request_text;
  Exchange exchange;
  std::uint32_t form = 0;
  std::shared_ptr<Call> self;  // while the HTTP thread has it
  int failures = 0, changes = 0, limited = 0;
  double estimate = 0;  // tokens, for the pace
  Budget::Amount reserved;
  StoredCall record;
  bool store = false;
  std::exception_ptr error;
  std::atomic<std::uint32_t> done{0};

  void wait() {
    while (done.load(std::memory_order_acquire) == 0) done.wait(0, std::memory_order_acquire);
  }
};

CallService::CallService(CallOptions options, Log log)
    : options_(std::move(options)), log_(std::move(log)), budget_(options_.max_cost, options_.max_tokens) {}

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
    throw ConfigError(fmt::format(
        "[mllms.{}] has no prices, so that a cap on costs cannot hold (set price_input, price_output and "
        "price_date; 0 where nothing is paid)", name));
  store();
  std::call_once(loop_once_, [this] {
    loop_ = std::make_unique<HttpLoop>([this](HttpLoop& loop, double now) { return turn(loop, now); },
                                       [this](std::vector<Exchange*>& finished) { arrived(finished); });
    finisher_ = std::thread([this] { finish_all(); });
    batches_ = std::make_unique<Batches>(
        *store_, [this](const auto&... what) { return exchange(what...); },
        [this](const CallKey& key, double cost, std::int64_t tokens) {
          std::lock_guard lock(set_aside_mutex_);
          if (const auto found = set_aside_.find(key); found != set_aside_.end()) {
            budget_.settle(found->second, {cost, tokens}, false);
            set_aside_.erase(found);
          }
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
      call->record.reply = invalid(Status::unavailable, fmt::format("offline, and no stored answer to call {}",
                                                                    hex_of(key).substr(0, 16)));
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
    {
      std::lock_guard lock(mllm.gate->mutex);
      // A little more than expected: the cap must hold with many in flight.
      usage.prompt_tokens = std::llround(
          1.1 * static_cast<double>(prompt_tokens(request, endpoint.image_tokens)) * mllm.gate->prompt_ratio);
      usage.completion_tokens = request.sampling.max_tokens ? *request.sampling.max_tokens
                                : endpoint.max_tokens > 0   ? endpoint.max_tokens
                                                            : std::llround(4 * mllm.gate->completion_tokens);
    }
    call->estimate = static_cast<double>(usage.prompt_tokens + usage.completion_tokens);
    const Budget::Amount reserved{cost_of(usage, endpoint.prices, as_batch),
                                  usage.prompt_tokens + usage.completion_tokens};
    if (!budget_.reserve(reserved, !as_batch))
      throw ModelError(fmt::format(
          "the run's cap is reached: {}. What is done is kept; raise the cap and run again to go on",
          budget_.text()));
    if (as_batch) {
      CallStore::Waiting waiting;
      waiting.call.key = key;
      waiting.call.identity = endpoint.identity;
      waiting.call.model = endpoint.model;
      waiting.call.request = std::move(call->request_text);
      waiting.call.purpose = request.purpose;
      waiting.use = mllm.use(request, key, Status::ok, true);
      {
        std::lock_guard lock(set_aside_mutex_);
        if (!set_aside_.emplace(key, reserved).second) budget_.settle(reserved, {}, false);
      }
      if (batches_->collect(*mllm.mllm, std::move(waiting), wire, call->record.reply)) {
        CollectScope::current()->add();
        call->record.reply = invalid(Status::unavailable, kWaitsForBatch);
      } else {
        note_use(mllm.use(request, key, call->record.reply.status, false));
        std::lock_guard lock(set_aside_mutex_);
        budget_.settle(set_aside_[key], {}, false);
        set_aside_.erase(key);
      }
      release(call);
      return call->record.reply;
    }
    call->reserved = reserved;
    call->exchange.channel = loop_->channel(endpoint);
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
  call->done.store(1, std::memory_order_release);
  call->done.notify_all();
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
  {
    std::lock_guard lock(arrived_mutex_);
    arrived_.insert(arrived_.end(), std::make_move_iterator(calls.begin()),
                    std::make_move_iterator(calls.end()));
  }
  arrived_changed_.notify_one();
}

// ---------------------------------------------------------------- the finishing thread

void CallService::finish_all() {
  for (;;) {
    std::vector<std::shared_ptr<Call>> calls;
    std::vector<CallUse> uses;
    {
      std::unique_lock lock(arrived_mutex_);
      arrived_changed_.wait(lock, [&] {
        return over_ || !arrived_.empty() || uses_.size() >= kUsesAtOnce;
      });
      if (over_ && arrived_.empty() && uses_.empty()) return;
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
        uses.push_back(call->mllm->use(*call->request, call->key, call->record.reply.status, call->store));
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
bool CallService::settle(Call& call, Status status, const std::string& detail) {
  budget_.settle(call.reserved, {});
  call.record.reply.status = status;
  call.record.reply.detail = detail;
  Gate& gate = *call.mllm->gate;
  std::string stopped;
  {
    std::lock_guard lock(gate.mutex);
    gate.without_answer = status == Status::unavailable ? gate.without_answer + 1 : 0;
    if (gate.outage_limit > 0 && gate.without_answer >= gate.outage_limit && gate.stopped.empty())
      stopped = fmt::format(
          "{} gave no answer to {} calls in a row, the last: {}. What is done is kept; run again to go on",
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
      if (++call.changes > kMostChanges) return settle(call, Status::invalid, reading.problem + named);
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
        stop(*mllm.gate, fmt::format("{} asks to wait {:.0f} s: {}{}. What is done is kept; run again then to go on",
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
                                    : fmt::format("{} attempts, the last: {}{}", attempts, reading.problem, named));
      const double own = std::min(endpoint.retry_delay_seconds * std::pow(2.0, std::min(attempts - 1, 40)),
                                  endpoint.max_retry_delay_seconds);
      const double wait = asked >= 0 ? asked * (1 + 0.1 * jitter()) : own * (1 - 0.25 * jitter());
      log_(LogLevel::debug, fmt::format("{}: {}{}; asking again in {:.2f} s", mllm.name, reading.problem, named, wait));
      send(call.shared_from_this(), wait);
      return false;
    }
  }

  StoredCall& record = call.record;
  record.reply = std::move(reading.reply);
  ChatReply& reply = record.reply;
  if (!reply.detail.empty()) reply.detail += named;
  // An error that no repetition mends was not paid for, and may be mended in the configuration.
  if (answer.status != 200 || reply.status == Status::invalid || reply.status == Status::unavailable)
    return settle(call, reply.status, reply.detail);
  record.usage_known = reading.usage_known;
  if (!record.usage_known) {
    reply.usage.prompt_tokens = prompt_tokens(*call.request, endpoint.image_tokens);
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
    const auto estimate = static_cast<double>(prompt_tokens(*call.request, endpoint.image_tokens));
    // Means that soon forget their first guess.
    const double share = std::max(0.02, 1.0 / ++gate.counted);
    gate.prompt_ratio += share * (static_cast<double>(reply.usage.prompt_tokens) / estimate - gate.prompt_ratio);
    gate.completion_tokens += share * (static_cast<double>(reply.usage.completion_tokens) - gate.completion_tokens);
  }
  return true;
}

// ---------------------------------------------------------------- batches

bool CallService::finish_batches(const std::atomic<bool>& stop) { return !batches_ || batches_->finish(stop); }

HttpAnswer CallService::exchange(const Endpoint& endpoint, const std::string& url, const std::string& content_type,
                                 const std::vector<std::shared_ptr<const std::string>>& body) {
  for (int attempt = 0;; ++attempt) {
    Exchange exchange;
    exchange.channel = loop_->channel(endpoint);
    exchange.url = url;
    exchange.get = body.empty();
    exchange.content_type = body.empty() ? "application/json" : content_type;
    exchange.body = body;
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
    const double asked = told_wait(answer, unix_seconds());
    const double own = std::min(endpoint.retry_delay_seconds * std::pow(2.0, attempt), endpoint.max_retry_delay_seconds);
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(asked >= 0 ? asked : own, kLongestToldWait)));
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
