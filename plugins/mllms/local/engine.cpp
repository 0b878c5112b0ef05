// SPDX-License-Identifier: Apache-2.0
#include "engine.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "dt2it/error.hpp"

namespace dt2it::local {
namespace {

// Components may share a backbone, which is not thread-safe.
std::shared_ptr<std::mutex> mutex_of(const Backbone* backbone) {
  static std::mutex guard;
  static std::map<const Backbone*, std::weak_ptr<std::mutex>> known;
  const std::lock_guard lock(guard);
  std::erase_if(known, [](const auto& entry) { return entry.second.expired(); });
  std::shared_ptr<std::mutex> mutex = known[backbone].lock();
  if (!mutex) known[backbone] = mutex = std::make_shared<std::mutex>();
  return mutex;
}

std::string folder_name(const std::filesystem::path& folder) {
  return (folder.has_filename() ? folder : folder.parent_path()).filename().string();
}

ChatReply failure(Status status, std::string detail) {
  ChatReply reply;
  reply.status = status;
  reply.detail = std::move(detail);
  return reply;
}

// The exception in flight as one that the host knows; LibTorch's own carry a stack trace below the first line.
std::exception_ptr known_exception(const std::string& model) {
  try {
    throw;
  } catch (const Error&) {
    return std::current_exception();
  } catch (const std::exception& error) {
    const std::string_view what = error.what();
    return std::make_exception_ptr(ModelError(
        fmt::format("{}: generation failed: {}", model, what.substr(0, what.find('\n')))));
  }
}

}  // namespace

Engine::Engine(std::shared_ptr<Backbone> backbone, Options options)
    : backbone_(std::move(backbone)),
      options_(std::move(options)),
      model_(folder_name(backbone_->checkpoint())),
      ends_(backbone_->end_tokens()),
      backbone_mutex_(mutex_of(backbone_.get())),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Engine::~Engine() = default;  // jthread asks run() to stop and waits for it

ChatReply Engine::answer(const std::vector<Message>& messages, Draw draw) {
  std::future<ChatReply> reply;
  std::shared_ptr<Group> mine;  // when this caller is the first
  {
    const std::lock_guard lock(mutex_);
    auto group = std::find_if(groups_.begin(), groups_.end(),
                              [&](const auto& one) { return one->messages == messages; });
    if (group == groups_.end()) {
      mine = std::make_shared<Group>();
      mine->messages = messages;
      mine->since = Clock::now();
      group = groups_.insert(groups_.end(), mine);
    }
    (*group)->callers.push_back({std::move(draw), {}});
    reply = (*group)->callers.back().reply.get_future();
    ++changes_;
  }
  if (mine)
    encode(*mine);
  else
    changed_.notify_all();
  return reply.get();
}

// In the first caller's thread, so that images of waiting prompts are prepared while others are decoded.
void Engine::encode(Group& group) {
  EncodedTree encoded;
  std::exception_ptr error;
  try {
    Prompt prompt;
    prompt.messages = group.messages;
    encoded = backbone_->encode(prompt, {});
  } catch (...) {
    error = known_exception(model_);
  }
  std::vector<Caller> callers;
  {
    const std::lock_guard lock(mutex_);
    // The end that a cut prompt lost is the question and the opening of the answer.
    if (!error && encoded.status == Status::ok && encoded.cut)
      encoded = {
          Status::truncated, {}, true, "the prompt is longer than the backbone's cutoff_len"};
    if (!error && encoded.status == Status::ok) {
      group.prompt = std::move(encoded.tree);
      group.ready = true;
      ++changes_;
    } else {
      callers = std::move(group.callers);
      groups_.remove_if([&](const auto& one) { return one.get() == &group; });
    }
  }
  for (Caller& caller : callers) {
    if (error)
      caller.reply.set_exception(error);
    else
      caller.reply.set_value(failure(encoded.status, encoded.detail));
  }
  changed_.notify_all();
}

void Engine::run(const std::stop_token& stop) {
  at::set_num_threads(options_.threads);
  while (!stop.stop_requested()) {
    std::vector<Start> starts = next_starts(stop);
    const std::lock_guard lock(*backbone_mutex_);
    try {
      begin(starts);
      step();
    } catch (...) {
      fail(starts);
    }
  }
}

// Prompts that begin now; waits for some while nothing is live. First come, first served: a prompt whose samples find no
// room together holds back those behind it.
std::vector<Engine::Start> Engine::next_starts(const std::stop_token& stop) {
  std::vector<Start> starts;
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    std::size_t room = options_.max_batch - live_.size(), ready = 0;
    for (const auto& group : groups_) ready += group->ready ? group->callers.size() : 0;
    const Clock::time_point now = Clock::now();
    std::optional<Clock::time_point> next;
    for (auto at = groups_.begin(); at != groups_.end();) {
      Group& group = **at;
      const Clock::time_point due =
          group.since + std::chrono::duration_cast<Clock::duration>(options_.max_wait);
      if (!group.ready || (now < due && ready < options_.max_batch)) {
        if (group.ready) next = std::min(next.value_or(due), due);
        ++at;
        continue;
      }
      const std::size_t count = std::min(group.callers.size(), options_.max_batch);
      if (count > room) break;
      room -= count;
      const auto end = group.callers.begin() + static_cast<std::ptrdiff_t>(count);
      starts.push_back({group.prompt, {}});
      std::move(group.callers.begin(), end, std::back_inserter(starts.back().callers));
      group.callers.erase(group.callers.begin(), end);
      at = group.callers.empty() ? groups_.erase(at) : std::next(at);
    }
    if (!starts.empty() || !live_.empty()) break;
    const auto changed = [&, seen = changes_] { return changes_ != seen; };
    if (next)
      changed_.wait_until(lock, stop, *next, changed);
    else
      changed_.wait(lock, stop, changed);
  }
  return starts;
}

void Engine::begin(std::vector<Start>& starts) {
  if (starts.empty()) return;
  std::vector<const TokenTree*> prompts;
  std::vector<std::size_t> samples;
  for (const Start& start : starts) {
    prompts.push_back(&start.prompt);
    samples.push_back(start.callers.size());
  }
  if (decoding_)
    decoding_->join(prompts, samples);
  else
    decoding_ = backbone_->decode(prompts, samples);
  for (Start& start : starts)
    for (Caller& caller : start.callers)
      live_.push_back({std::move(caller), start.prompt.tokens.size(), start.prompt.tokens,
                       AnswerText(*backbone_, options_.stops)});
  starts.clear();
}

// A token more for each live answer.
void Engine::step() {
  if (live_.empty()) return;
  const at::Tensor logits = decoding_->logits().contiguous();
  const float* rows = logits.const_data_ptr<float>();
  const auto width = static_cast<std::size_t>(logits.size(1));
  std::vector<std::int64_t> drawn(live_.size());
  at::parallel_for(
      0, static_cast<std::int64_t>(live_.size()), 1, [&](std::int64_t first, std::int64_t last) {
        for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
          Draw& draw = live_[i].caller.draw;
          drawn[i] =
              nn::draw_token({rows + i * width, width}, live_[i].tokens, draw.settings, draw.rng);
        }
      });
  std::vector<std::pair<Caller, ChatReply>> done;
  std::vector<std::size_t> kept;
  std::vector<std::int64_t> next;
  std::vector<Live> still;
  for (std::size_t i = 0; i < live_.size(); ++i) {
    if (std::optional<ChatReply> reply = ended(live_[i], drawn[i])) {
      done.emplace_back(std::move(live_[i].caller), std::move(*reply));
    } else {
      kept.push_back(i);
      next.push_back(drawn[i]);
      still.push_back(std::move(live_[i]));
    }
  }
  live_ = std::move(still);
  for (auto& [caller, reply] : done) caller.reply.set_value(std::move(reply));
  if (live_.empty()) {
    decoding_.reset();  // its cache too
    return;
  }
  if (!done.empty()) decoding_->keep(kept);
  decoding_->advance(next);
}

// The reply, when this token ends the answer.
std::optional<ChatReply> Engine::ended(Live& live, std::int64_t token) const {
  live.tokens.push_back(token);
  const auto count = static_cast<std::int64_t>(live.tokens.size() - live.prompt_tokens);
  const bool stop =
      std::find(ends_.begin(), ends_.end(), token) != ends_.end() || live.text.add(token);
  if (!stop && count < live.caller.draw.max_tokens) return std::nullopt;
  ChatReply reply;
  reply.text = live.text.text();
  reply.finish_reason = stop ? "stop" : "length";
  reply.model = model_;
  // How much of a prompt was shared depends on who was there at the time, so it is not told.
  reply.usage = {static_cast<std::int64_t>(live.prompt_tokens), 0, count};
  reply.status = Status::ok;
  if (!stop) {
    reply.status = Status::truncated;
    reply.detail = fmt::format("the answer was cut at {} tokens", count);
  } else if (reply.text.empty()) {
    reply.status = Status::unparsed;
    reply.detail = "the model ended its answer before a word of text";
  }
  return reply;
}

void Engine::fail(std::vector<Start>& starts) {
  const std::exception_ptr error = known_exception(model_);
  for (Live& live : live_) live.caller.reply.set_exception(error);
  for (Start& start : starts)
    for (Caller& caller : start.callers) caller.reply.set_exception(error);
  live_.clear();
  decoding_.reset();
}

}  // namespace dt2it::local
