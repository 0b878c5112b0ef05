// SPDX-License-Identifier: Apache-2.0
#include "core/calls/batches.hpp"

#include <fmt/format.h>
#include <simdjson.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <thread>
#include <utility>

#include "core/calls/request_text.hpp"
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
  throw ModelError(fmt::format(
      "{}: {}. What is done is kept; run again to go on", url,
      answer.status == 0 ? answer.problem
                         : fmt::format("HTTP {}: {}", answer.status, answer.body.substr(0, 500))));
}

std::vector<CallKey> keys_of(const std::string& lines) {
  std::vector<CallKey> keys;
  for (std::size_t at = 0; at < lines.size(); at += 65)
    if (CallKey key = key_of_hex(std::string_view(lines).substr(at, 64)); !key.empty())
      keys.push_back(std::move(key));
  return keys;
}

// A name of our own for a batch, by which it is found again when the answer to its making was lost.
std::string mark_of(const CallStore::Batch& batch) {
  return hex_of(call_key(batch.file_id, batch.keys)).substr(0, 32);
}

// What a process that was killed had collected and not sent. Files that others are filling are younger.
void remove_stale_files(const fs::path& folder) {
  std::error_code ignored;
  const auto limit = fs::file_time_type::clock::now() - std::chrono::hours(48);
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("batch-") && name.ends_with(".jsonl") &&
        entry.last_write_time(ignored) < limit)
      fs::remove(entry.path(), ignored);
  }
}

}  // namespace

CollectScope::CollectScope() : outer_(current_scope) { current_scope = this; }
CollectScope::~CollectScope() { current_scope = outer_; }
CollectScope* CollectScope::current() { return current_scope; }

Batches::Batches(CallStore& store, Send send, Settle settle, Log log, Limits limits)
    : store_(store),
      send_(std::move(send)),
      settle_(std::move(settle)),
      log_(std::move(log)),
      limits_(limits) {}

void Batches::save(Group& group) {
  store_.add_waiting(group.unsaved);
  group.unsaved.clear();
}

bool Batches::collect(RemoteMllm& model, CallStore::Waiting waiting, const WireRequest& wire,
                      ChatReply& reply) {
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
  std::string line = fmt::format(R"({{"custom_id":"{}","method":"POST","url":"{}","body":)",
                                 hex_of(call.key), endpoint.batch_path);
  for (const auto& piece : wire.body) line += *piece;
  line += "}\n";
  if (line.size() > limits_.bytes)
    throw DataError(fmt::format("a call of {} bytes is more than a batch may hold", line.size()));
  if (!std::exchange(tidied_, true)) remove_stale_files(store_.file().parent_path());
  if (group.files.empty() || group.files.back().second.size() >= limits_.lines ||
      group.bytes + line.size() > limits_.bytes) {
    const std::size_t number = group.files.size();
    group.files.emplace_back(
        store_.file().parent_path() /
            fmt::format("batch-{}-{}-{}.jsonl", getpid(), hex_of(call.key).substr(0, 8), number),
        std::vector<CallKey>{});
    group.bytes = 0;
  }
  std::ofstream file(group.files.back().first, std::ios::binary | std::ios::app);
  file.write(line.data(), static_cast<std::streamsize>(line.size()));
  if (!file.flush())
    throw Error(fmt::format("{}: cannot be written", group.files.back().first.string()));
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
        "Content-Type: application/jsonl\r\n\r\n",
        kBoundary));
    auto tail = std::make_shared<const std::string>(fmt::format("\r\n--{}--\r\n", kBoundary));
    simdjson::dom::parser parser;
    const element file =
        parsed(parser,
               send_(endpoint, endpoint.files_url,
                     std::string("multipart/form-data; boundary=") + kBoundary,
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
  batch.server_id =
      text_of(parsed(parser, send_(endpoint, endpoint.batches_url, "application/json", {body}),
                     endpoint.batches_url),
              "id");
  store_.update_batch(batch);
  log_(LogLevel::info,
       fmt::format("batch {} with {} calls to {} ({}) is on its way", batch.server_id,
                   batch.keys.size() / 65, endpoint.model, endpoint.url));
}

HttpAnswer Batches::get(const Endpoint& endpoint, const std::string& url) {
  return send_(endpoint, url, "", {});
}

// The lines of an output or error file, in any order. Returns why the endpoint cannot be used, mostly nothing.
std::string Batches::take(RemoteMllm& model, const std::string& file_id) {
  if (file_id.empty()) return {};
  const Endpoint& endpoint = model.endpoint();
  const HttpAnswer file = get(endpoint, endpoint.files_url + "/" + file_id + "/content");
  if (file.status != 200)
    throw ModelError(fmt::format(
        "{}/{}: {}. What is done is kept; run again to go on", endpoint.files_url, file_id,
        file.status == 0 ? file.problem : fmt::format("HTTP {}", file.status)));
  std::vector<CallStore::Waiting> done;
  std::string stopped;
  for (std::size_t at = 0; at < file.body.size();) {
    const std::size_t end = std::min(file.body.find('\n', at), file.body.size());
    const std::string_view line = std::string_view(file.body).substr(at, end - at);
    at = end + 1;
    simdjson::dom::parser parser;
    element root, response, body;
    if (parser.parse(simdjson::padded_string(line)).get(root)) continue;
    const CallKey key = key_of_hex(text_of(root, "custom_id"));
    if (key.empty() || root.at_key("response").get(response) || !response.is_object())
      continue;  // not got to
    std::optional<CallStore::Waiting> waiting = store_.waiting(key);
    if (!waiting) continue;  // not ours, or taken before
    StoredCall& call = waiting->call;
    HttpAnswer answer;
    std::int64_t status = 0;
    if (!response.at_key("status_code").get(status)) answer.status = static_cast<long>(status);
    if (!response.at_key("body").get(body)) answer.body = simdjson::minify(body);
    const ChatRequest request = request_of(call.request);
    const WireReading reading = model.read(request, waiting->form, answer);
    switch (reading.next) {
      case WireReading::Next::retry:
      case WireReading::Next::changed: continue;  // in the next batch
      case WireReading::Next::stop: stopped = reading.problem; continue;
      case WireReading::Next::done: break;
    }
    call.reply = reading.reply;
    if (answer.status != 200 || call.reply.status == Status::invalid ||
        call.reply.status == Status::unavailable) {
      std::lock_guard lock(mutex_);
      failed_[key] = call.reply;
      continue;
    }
    call.usage_known = reading.usage_known;
    if (!reading.usage_known) {
      call.reply.usage.prompt_tokens = prompt_tokens(request, endpoint.image_tokens);
      call.reply.usage.completion_tokens = static_cast<std::int64_t>(call.reply.text.size() / 4);
    }
    call.answer = std::move(answer.body);
    call.request_id = text_of(response, "request_id");
    call.cost = cost_of(call.reply.usage, endpoint.prices, true);
    call.time = std::time(nullptr);
    waiting->use.status = call.reply.status;
    settle_(key, call.cost, call.reply.usage.prompt_tokens + call.reply.usage.completion_tokens);
    done.push_back(std::move(*waiting));
  }
  std::vector<const StoredCall*> records;
  std::vector<CallUse> uses;
  for (const CallStore::Waiting& one : done) {
    records.push_back(&one.call);
    uses.push_back(one.use);
  }
  if (!records.empty()) store_.put(records, uses);
  return stopped;
}

// True: the batch is over, one way or another, and what it gave is kept.
bool Batches::poll(RemoteMllm& model, const CallStore::Batch& batch) {
  const Endpoint& endpoint = model.endpoint();
  simdjson::dom::parser parser;
  const std::string url = endpoint.batches_url + "/" + batch.server_id;
  const element state = parsed(parser, get(endpoint, url), url);
  const std::string status = text_of(state, "status");
  if (status != "completed" && status != "failed" && status != "expired" && status != "cancelled")
    return false;
  std::string why;
  if (element list; !state.at_pointer("/errors/data/0").get(list)) why = text_of(list, "message");
  std::string stopped = take(model, text_of(state, "output_file_id"));
  if (const std::string also = take(model, text_of(state, "error_file_id")); stopped.empty())
    stopped = also;
  const std::vector<CallKey> keys = keys_of(batch.keys);
  {
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
  }
  log_(status == "completed" ? LogLevel::info : LogLevel::warning,
       fmt::format("batch {} is {}{}{}", batch.server_id, status, why.empty() ? "" : ": ", why));
  if (!stopped.empty())
    throw ModelError(fmt::format("{} (model {}) cannot be used: {}. What is done is kept",
                                 endpoint.url, endpoint.model, stopped));
  return true;
}

// Batches whose file was uploaded by a process that was killed before it knew whether they were made: they are
// among the server's, or are made now.
void Batches::find_lost(const Endpoint& endpoint, std::vector<CallStore::Batch>& open) {
  const auto lost = [](const CallStore::Batch& batch) { return batch.server_id.empty(); };
  std::string after;
  for (bool more = true; more && std::any_of(open.begin(), open.end(), lost);) {
    simdjson::dom::parser parser;
    const std::string url =
        endpoint.batches_url + "?limit=100" + (after.empty() ? "" : "&after=" + after);
    const element list = parsed(parser, get(endpoint, url), url);
    more = !list.at_key("has_more").get(more) && more;
    simdjson::dom::array made;
    if (list.at_key("data").get(made) || made.size() == 0) break;
    for (const element one : made) {
      after = text_of(one, "id");
      element metadata;
      if (one.at_key("metadata").get(metadata)) continue;
      for (CallStore::Batch& batch : open)
        if (lost(batch) && text_of(metadata, "dt2it") == mark_of(batch)) {
          batch.server_id = after;
          store_.update_batch(batch);
        }
    }
  }
  for (CallStore::Batch& batch : open)
    if (lost(batch)) create(endpoint, batch);
}

bool Batches::finish(const std::atomic<bool>& stop) {
  std::lock_guard one_at_a_time(finishing_);
  std::map<std::string, Group> groups;
  {
    std::lock_guard lock(mutex_);
    groups.swap(groups_);
  }
  // All are sent before the first is waited for.
  std::vector<std::pair<RemoteMllm*, CallStore::Batch>> open;
  double pause = 3600;
  for (auto& [name, group] : groups) {
    const Endpoint& endpoint = group.model->endpoint();
    submit(endpoint, group);
    std::vector<CallStore::Batch> batches = store_.batches(endpoint.url, endpoint.model);
    find_lost(endpoint, batches);
    for (CallStore::Batch& batch : batches) open.emplace_back(group.model, std::move(batch));
    pause = std::min(pause, endpoint.batch_poll_seconds);
  }
  while (!open.empty()) {
    std::erase_if(open, [&](const auto& one) { return poll(*one.first, one.second); });
    for (double waited = 0; !open.empty() && waited < pause; waited += 0.05) {
      if (stop.load()) return false;
      std::this_thread::sleep_for(std::chrono::duration<double>(std::min(0.05, pause)));
    }
  }
  return true;
}

}  // namespace dt2it
