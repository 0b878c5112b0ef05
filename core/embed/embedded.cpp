// SPDX-License-Identifier: Apache-2.0
#include "core/embed/embedded.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <mutex>

#include "core/cli/inputs.hpp"
#include "core/cli/model_options.hpp"
#include "core/data/records.hpp"
#include "core/media/passing_media_store.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/util/program_version.hpp"
#include "core/util/scratch_folder.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it::embed {

namespace fs = std::filesystem;

namespace {

// Plugins lie beside this library, wherever it was put.
std::vector<fs::path> search_path(const std::vector<std::string>& given) {
  std::vector<fs::path> folders(given.begin(), given.end());
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&version), &info) && info.dli_fname)
    folders.push_back(fs::weakly_canonical(info.dli_fname).parent_path() / "dt2it" / "plugins");
  return folders;
}

void log(LogLevel level, std::string_view message) {
  if (level >= LogLevel::warning)
    std::fprintf(stderr, "dt2it: %.*s\n", static_cast<int>(message.size()), message.data());
}

Prompt prompt_of(const Request& request, PassingMediaStore& media, std::vector<Media>& stored) {
  Prompt prompt;
  for (const Message& message : request.messages) {
    dt2it::Message to;
    if (message.role == "system")
      to.role = dt2it::Message::Role::system;
    else if (message.role == "user")
      to.role = dt2it::Message::Role::user;
    else if (message.role == "assistant")
      to.role = dt2it::Message::Role::assistant;
    else
      throw DataError(
          fmt::format("role '{}' is not known (system, user, assistant)", message.role));
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) {
        to.content.push_back(dt2it::Part::of_text(part.data));
        continue;
      }
      const Media one =
          part.kind == Part::Kind::image_bytes
              ? media.put(std::span(reinterpret_cast<const std::uint8_t*>(part.data.data()),
                                    part.data.size()),
                          "bytes")
              : media.put_file(part.data, part.data);
      stored.push_back(one);
      to.content.push_back({part.kind == Part::Kind::video_file ? dt2it::Part::Kind::video
                                                                : dt2it::Part::Kind::image,
                            {},
                            one});
    }
    prompt.messages.push_back(std::move(to));
  }
  if (prompt.messages.empty() || prompt.messages.back().role != dt2it::Message::Role::user)
    throw DataError("the last message before the answers must be the user's");
  return prompt;
}

}  // namespace

std::string version() { return program_version(); }

struct Model::State {
  State(const std::string& text, const std::vector<std::string>& settings,
        const std::vector<std::string>& plugin_path)
      : registry(search_path(plugin_path)),
        stored(registry, scratch.path() / "media"),
        media(stored.store(), scratch.path() / "media", nullptr) {
    cli::ModelOptions options;
    options.model = text;
    options.settings = settings;
    scope = std::make_unique<StageScope>(
        registry, std::vector<ComponentConfig>{cli::reward_model_of(options, registry)}, media, 0,
        scratch.path(), log);
    model = scope->context().component<RewardModel>("model");
  }
  ScratchFolder scratch{"embedded"};
  PluginRegistry registry;
  HostMedia stored;
  PassingMediaStore media;
  std::unique_ptr<StageScope> scope;
  std::shared_ptr<RewardModel> model;
  std::mutex mutex;
};

Model::Model(const std::string& model, const std::vector<std::string>& settings,
             const std::vector<std::string>& plugin_path)
    : state_(std::make_unique<State>(model, settings, plugin_path)) {}

Model::~Model() {
  if (state_) state_->model.reset();
}

std::vector<std::vector<Reward>> Model::score(const std::vector<Request>& requests) {
  std::lock_guard lock(state_->mutex);
  struct Stored {
    PassingMediaStore& media;
    std::vector<Media> all;
    ~Stored() {
      for (const Media& one : all) media.release(one);
    }
  } stored{state_->media, {}};
  std::vector<Prompt> prompts;
  std::vector<std::vector<Response>> responses(requests.size());
  std::vector<RewardRequest> asked;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    prompts.push_back(prompt_of(requests[i], state_->media, stored.all));
    for (const std::string& text : requests[i].candidates) {
      Response response;
      response.text = text;
      responses[i].push_back(std::move(response));
    }
  }
  for (std::size_t i = 0; i < requests.size(); ++i)
    asked.push_back({&prompts[i], responses[i], i, {}});
  std::vector<std::vector<Reward>> results;
  const std::size_t group = std::max<std::size_t>(1, state_->model->batch_size());
  for (std::size_t at = 0; at < asked.size(); at += group) {
    const auto some = std::span(asked).subspan(at, std::min(group, asked.size() - at));
    for (const auto& row : state_->model->rewards(some)) {
      auto& to = results.emplace_back();
      for (const dt2it::Reward& reward : row) {
        const bool good = reward.ok() && std::isfinite(reward.value);
        to.push_back(
            {good ? reward.value : std::nan(""),
             std::string(to_string(reward.ok() && !good ? Status::invalid : reward.status)),
             reward.detail});
      }
    }
  }
  return results;
}

struct Records::State {
  ScratchFolder scratch{"embedded"};
  std::vector<Record> records;
};

Records::Records(const std::string& input, const std::string& format, const std::string& media_root,
                 std::size_t limit, const std::vector<std::string>& plugin_path)
    : state_(std::make_unique<State>()) {
  PluginRegistry registry(search_path(plugin_path));
  HostMedia media(registry, state_->scratch.path() / "media");
  cli::InputOptions options;
  options.inputs = {input};
  options.format = format;
  options.media_root = media_root;
  StageScope scope(registry, cli::input_datasets(options, registry, "input"), media.store(), 0,
                   state_->scratch.path(), log);
  constexpr const char* kRoles[] = {"system", "user", "assistant"};
  const auto stream = scope.context().component<Dataset>("input_1")->answers({});
  for (AnswerRecord from; (limit == 0 || state_->records.size() < limit) && stream->next(from);
       from = {}) {
    Record& to = state_->records.emplace_back();
    to.row = from.row;
    to.id = from.id;
    to.pair = from.pair;
    to.status = to_string(from.status);
    to.detail = from.detail;
    if (from.status != Status::ok) continue;
    if (from.rejected_prompt) {  // two questions: no form here for them
      to.status = "invalid";
      to.detail = "the rejected answer has a question of its own";
      continue;
    }
    for (const dt2it::Message& message : from.prompt.messages) {
      Message& here = to.messages.emplace_back();
      here.role = kRoles[static_cast<std::size_t>(message.role)];
      for (const dt2it::Part& part : message.content) {
        if (part.kind == dt2it::Part::Kind::text) {
          here.content.push_back({Part::Kind::text, part.text});
          continue;
        }
        const std::string& id = part.media.id;
        here.content.push_back(
            {part.kind == dt2it::Part::Kind::video ? Part::Kind::video_file
                                                   : Part::Kind::image_file,
             id.empty() ? part.media.source
                        : (state_->scratch.path() / "media" / id.substr(0, 2) / id).string()});
      }
    }
    for (const Response& response : from.responses) to.candidates.push_back(response.text);
  }
}

Records::~Records() = default;

const std::vector<Record>& Records::all() const { return state_->records; }

}  // namespace dt2it::embed
