// SPDX-License-Identifier: Apache-2.0
#include "core/calls/batches.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <set>
#include <thread>

#include "core/calls/token_estimate.hpp"
#include "core/util/files.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

using simdjson::dom::element;

thread_local CollectScope* current_scope = nullptr;

std::string text_of(const element& object, const char* key) {
  std::string_view text;
  return object.at_key(key).get(text) ? "" : std::string(text);
}

element parsed(simdjson::dom::parser& parser, const HttpAnswer& answer, const std::string& url) {
  element root;
  if (answer.status == 200 && !parser.parse(answer.body).get(root)) return root;
  throw ModelError(fmt::format("{}: {}. What is done is kept; run again to go on", url,
                               answer.status == 0 ? answer.problem
                                                  : fmt::format("HTTP {}: {}", answer.status, answer.body.substr(0, 500))));
}

std::vector<CallKey> keys_of(const std::string& lines) {
  std::vector<CallKey> keys;
  for (std::size_t at = 0; at < lines.size(); at += 65)
    if (CallKey key = key_of_hex(std::string_view(lines).substr(at, 64)); !key.empty()) keys.push_back(std::move(key));
  return keys;
}

// A name of our own for a batch, by which it is found again when the answer to its making was lost.
std::string mark_of(const CallStore::Batch& batch) {
  return hex_of(call_key(batch.file_id, batch.keys)).substr(0, 32);
}

}  // namespace

CollectScope::CollectScope() : outer_(current_scope) { current_scope = this; }
CollectScope::~CollectScope() { current_scope = outer_; }
CollectScope* CollectScope::current() { return current_scope; }

Batches::Batches(CallStore& store, Send send, Settle settle, Log log, Limits limits)
    : store_(store), send_(std::move(send)), settle_(std::move(settle)), log_(std::move(log)), limits_(limits) {}

void Batches::save(Group& group) {
  store_.add_waiting(group.unsaved);
  group.unsaved.clear();
}

bool Batches::collect(RemoteMllm& model, CallStore::Waiting waiting, const WireRequest& wire, ChatReply& reply) {
  const StoredCall& call = waiting.call;
  const Endpoint& endpoint = model.endpoint();
  std::lock_guard lock(mutex_);
  if (const auto failed = failed_.find(call.key); failed != failed_.end()) {
    reply = failed->second;
    return false;
  }
  if (!collected_.insert(call.key).second) return true;
  if (tried_[call.key] >= limits_.rounds) {
    collected_.erase(call.key);
    reply.status = Status::unavailable;
    reply.detail = fmt::format("{} batches ended before this call was worked on", limits_.rounds);
    return false;
  }
  Group& group = groups_[endpoint.url + "\n" + endpoint.model];
  if (!group.model)
    for (const CallStore::Batch& batch : store_.batches(endpoint.url, endpoint.model))
      for (CallKey& key : keys_of(batch.keys)) group.under_way.insert(std::move(key));
  group.model = &model;
  if (group.under_way.contains(call.key)) return true;  // waited for, not sent
  std::string line = fmt::format(R"({{"custom_id":"{}","method":"POST","url":"{}","body":)", hex_of(call.key),
                                 endpoint.batch_path);
  for (const auto& piece : wire.body) line += *piece;
  line += "}\n";
  if (line.size() > limits_.bytes)
    throw DataError(fmt::format("a call of {} bytes is more than a batch may hold", line.size()));
  if (group.files.empty() || group.files.back().second.size() >= limits_.lines ||
      group.bytes + line.size() > limits_.bytes) {
    const std::size_t number = group.files.size();
    group.files.emplace_back(store_.file().parent_path() /
                                 fmt::format("batch-{}-{}-{}.jsonl", getpid(), hex_of(call.key).substr(0, 8), number),
                             std::vector<CallKey>{});
    group.bytes = 0;
  }
  std::ofstream file(group.files.back().first, std::ios::binary | std::ios::app);
  file.write(line.data(), static_cast<std::streamsize>(line.size()));
  if (!file.flush()) throw Error(fmt::format("{}: cannot be written", group.files.back().first.string()));
  group.bytes += line.size();
  group.files.back().second.push_back(call.key);
  group.unsaved.push_back(std::move(waiting));
  if (group.unsaved.size() >= 500) save(group);
  return true;
}

// Uploads the files; each batch is noted durably before the next step.
void Batches::submit(const Endpoint& endpoint, Group& group) {
  save(group);
  for (const auto& [path, keys] : group.files) {
    constexpr const char* kBoundary = "dt2it-7f3a9c51e2";
    auto head = std::make_shared<const std::string>(fmt::format(
        "--{0}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--{0}\r\n"
        "Content-Disposition: form-data; name=\"file\"; filename=\"batch.jsonl\"\r\n"
        "Content-Type: application/jsonl\r\n\r\n", kBoundary));
    auto tail = std::make_shared<const std::string>(fmt::format("\r\n--{}--\r\n", kBoundary));
    simdjson::dom::parser parser;
    const element file =
        parsed(parser, send_(endpoint, endpoint.files_url, std::string("multipart/form-data; boundary=") + kBoundary,
                             {head, std::make_shared<const std::string>(read_file(path)), tail}),
               endpoint.files_url);
    CallStore::Batch batch;
    batch.endpoint = endpoint.url;
    batch.model = endpoint.model;
    batch.file_id = text_of(file, "id");
    for (const CallKey& key : keys) batch.keys += hex_of(key) + "\n";
    batch.id = store_.add_batch(batch);
    fs::remove(path);
    create(endpoint, batch);
  }
  group.files.clear();
}

void Batches::create(const Endpoint& endpoint, CallStore::Batch& batch) {
  const auto body = std::make_shared<const std::string>(fmt::format(
      R"({{"input_file_id":"{}","endpoint":"{}","completion_window":"24h","metadata":{{"dt2it":"{}"}}}})",
      batch.file_id, endpoint.batch_path, mark_of(batch)));
  simdjson::dom::parser parser;
  batch.server_id = text_of(parsed(parser, send_(endpoint, endpoint.batches_url, "application/json", {body}),
                                   endpoint.batches_url), "id");
  store_.update_batch(batch);
  log_(LogLevel::info, fmt::format("batch {} with {} calls to {} ({}) is on its way", batch.server_id,
                                   batch.keys.size() / 65, endpoint.model, endpoint.url));
}

HttpAnswer Batches::get(const Endpoint& endpoint, const std::string& url) { return send_(endpoint, url, "", {}); }

// The lines of an output or error file, in any order.
void Batches::take(RemoteMllm& model, const std::string& file_id, bool errors) {
  if (file_id.empty()) return;
  const Endpoint& endpoint = model.endpoint();
  const HttpAnswer file = get(endpoint, endpoint.files_url + "/" + file_id + "/content");
  if (file.status != 200)
    throw ModelError(fmt::format("{}/{}: {}. What is done is kept; run again to go on", endpoint.files_url, file_id,
                                 file.status == 0 ? file.problem : fmt::format("HTTP {}", file.status)));
  std::vector<CallStore::Waiting> done;
  for (std::size_t at = 0; at < file.body.size();) {
    const std::size_t end = std::min(file.body.find('\n', at), file.body.size());
    const std::string_view line = std::string_view(file.body).substr(at, end - at);
    at = end + 1;
    simdjson::dom::parser parser;
    element root, response, body;
    if (parser.parse(simdjson::padded_string(line)).get(root)) continue;
    const CallKey key = key_of_hex(text_of(root, "custom_id"));
    if (key.empty() || root.at_key("response").get(response) || !response.is_object()) continue;  // not got to
    std::optional<CallStore::Waiting> waiting = store_.waiting(key);
    if (!waiting) continue;  // not ours, or taken before
    StoredCall* call = &waiting->call;
    HttpAnswer answer;
    std::int64_t status = 0;
    if (!response.at_key("status_code").get(status)) answer.status = static_cast<long>(status);
    if (!response.at_key("body").get(body)) answer.body = simdjson::minify(body);
    const WireReading reading = model.read({}, 0, answer);
    const bool kept = reading.next == WireReading::Next::done && answer.status == 200 &&
                      reading.reply.status != Status::invalid && reading.reply.status != Status::unavailable;
    if (!kept) {
      if (reading.next == WireReading::Next::retry && errors) continue;  // in the next batch
      ChatReply reply = reading.reply;
      if (reading.next != WireReading::Next::done) reply.status = Status::invalid;
      if (reply.detail.empty()) reply.detail = reading.problem;
      std::lock_guard lock(mutex_);
      failed_[key] = reply;
      continue;
    }
    call->reply = reading.reply;
    call->usage_known = reading.usage_known;
    if (!reading.usage_known) {
      call->reply.usage.prompt_tokens = static_cast<std::int64_t>(call->request.size() / 4);
      call->reply.usage.completion_tokens = static_cast<std::int64_t>(call->reply.text.size() / 4);
    }
    call->answer = std::move(answer.body);
    call->request_id = text_of(response, "request_id");
    call->cost = cost_of(call->reply.usage, endpoint.prices, true);
    call->time = std::time(nullptr);
    waiting->use.status = call->reply.status;
    settle_(key, call->cost, call->reply.usage.prompt_tokens + call->reply.usage.completion_tokens);
    done.push_back(std::move(*waiting));
  }
  std::vector<const StoredCall*> records;
  std::vector<CallUse> uses;
  for (const CallStore::Waiting& one : done) {
    records.push_back(&one.call);
    uses.push_back(one.use);
  }
  if (!records.empty()) store_.put(records, uses);
}

// True: the batch is over, one way or another, and what it gave is kept.
bool Batches::poll(RemoteMllm& model, CallStore::Batch& batch) {
  const Endpoint& endpoint = model.endpoint();
  simdjson::dom::parser parser;
  const std::string url = endpoint.batches_url + "/" + batch.server_id;
  const element state = parsed(parser, get(endpoint, url), url);
  const std::string status = text_of(state, "status");
  if (status != "completed" && status != "failed" && status != "expired" && status != "cancelled") return false;
  const std::string output = text_of(state, "output_file_id"), errors = text_of(state, "error_file_id");
  std::string why;
  if (element list; !state.at_pointer("/errors/data/0").get(list)) why = text_of(list, "message");
  take(model, output, false);
  take(model, errors, true);
  const std::vector<CallKey> keys = keys_of(batch.keys);
  std::lock_guard lock(mutex_);
  store_.remove_waiting(keys);
  for (const CallKey& key : keys) {
    collected_.erase(key);
    settle_(key, 0, 0);  // where there was no answer
    ++tried_[key];
    if (status == "failed") {
      ChatReply reply;
      reply.status = Status::invalid;
      reply.detail = fmt::format("the batch was refused: {}", why);
      failed_.emplace(key, reply);
    }
  }
  store_.remove_batch(batch.id);
  log_(status == "completed" ? LogLevel::info : LogLevel::warning,
       fmt::format("batch {} is {}{}{}", batch.server_id, status, why.empty() ? "" : ": ", why));
  return true;
}

bool Batches::finish(const std::atomic<bool>& stop) {
  std::lock_guard one_at_a_time(finishing_);
  std::map<std::string, Group> groups;
  {
    std::lock_guard lock(mutex_);
    groups.swap(groups_);
  }
  for (auto& [name, group] : groups) {
    const Endpoint& endpoint = group.model->endpoint();
    submit(endpoint, group);
    std::vector<CallStore::Batch> open = store_.batches(endpoint.url, endpoint.model);
    // Uploaded by a process that was killed before it knew whether the batch was made.
    const bool lost = std::any_of(open.begin(), open.end(), [](const auto& batch) { return batch.server_id.empty(); });
    if (lost) {
      simdjson::dom::parser parser;
      const std::string url = endpoint.batches_url + "?limit=100";
      const element list = parsed(parser, get(endpoint, url), url);
      simdjson::dom::array made;
      if (!list.at_key("data").get(made))
        for (const element one : made)
          for (CallStore::Batch& batch : open) {
            element metadata;
            if (batch.server_id.empty() && !one.at_key("metadata").get(metadata) &&
                text_of(metadata, "dt2it") == mark_of(batch)) {
              batch.server_id = text_of(one, "id");
              store_.update_batch(batch);
            }
          }
      for (CallStore::Batch& batch : open)
        if (batch.server_id.empty()) create(endpoint, batch);
    }
    while (!open.empty()) {
      for (auto batch = open.begin(); batch != open.end();)
        batch = poll(*group.model, *batch) ? open.erase(batch) : batch + 1;
      for (double waited = 0; !open.empty() && waited < endpoint.batch_poll_seconds; waited += 0.05) {
        if (stop.load()) return false;
        std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, endpoint.batch_poll_seconds)));
      }
    }
  }
  return true;
}

}  // namespace dt2it
