// SPDX-License-Identifier: Apache-2.0
#include "core/stages/call_estimate.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>

#include "core/calls/token_estimate.hpp"
#include "core/data/records.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/diversity_strategy.hpp"
#include "dt2it/error.hpp"
#include "dt2it/request_key.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kSample = 24;             // prompts
constexpr std::size_t kAssumedAnswer = 400;     // tokens, where nothing is known
constexpr std::size_t kCachedFrom = 1024;       // tokens of a common beginning that providers cache

// Takes requests down and answers none.
struct Probe {
  struct Asked {
    std::int64_t calls = 0, prompt_tokens = 0, most_tokens = 0;
    std::string first, beginning;  // of a request; what all have in common
    Endpoint endpoint;
    bool limited = true;
  };
  std::map<std::pair<std::string, std::string>, Asked> by_asker;  // mllm, purpose

  void take(const std::string& mllm, const Endpoint& endpoint, const ChatRequest& request) {
    Asked& asked = by_asker[{mllm, request.purpose}];
    asked.endpoint = endpoint;
    const std::string text = request_text(request);
    if (asked.calls == 0) asked.first = asked.beginning = text;
    const auto end = std::mismatch(asked.beginning.begin(), asked.beginning.end(), text.begin(), text.end()).first;
    if (text != asked.first) asked.beginning.erase(end, asked.beginning.end());
    ++asked.calls;
    asked.prompt_tokens += prompt_tokens(request, endpoint.image_tokens);
    asked.limited = asked.limited && request.sampling.max_tokens.has_value();
    asked.most_tokens += request.sampling.max_tokens.value_or(0);
  }
};

std::int64_t integer_of(const Table& params, const char* name, std::int64_t fallback) {
  const auto it = params.find(name);
  const auto* value = it == params.end() ? nullptr : std::get_if<std::int64_t>(&it->second.data);
  return value ? *value : fallback;
}

std::string text_of(const Table& params, const char* name) {
  const auto it = params.find(name);
  const auto* value = it == params.end() ? nullptr : std::get_if<std::string>(&it->second.data);
  return value ? *value : std::string();
}

std::vector<std::string> texts_of(const Table& params, const char* name) {
  std::vector<std::string> texts;
  const auto it = params.find(name);
  if (it == params.end()) return texts;
  if (const auto* list = std::get_if<List>(&it->second.data))
    for (const Value& item : *list)
      if (const auto* text = std::get_if<std::string>(&item.data)) texts.push_back(*text);
  return texts;
}

class Estimator {
 public:
  Estimator(const Experiment& experiment, const StageGraph& graph, PluginRegistry& registry,
            const StageStore& store, const fs::path& calls)
      : experiment_(experiment), graph_(graph), registry_(registry), store_(store), media_(registry, scratch_.path / "media") {
    if (fs::exists(calls)) calls_ = std::make_unique<CallStore>(calls);
  }

  CallEstimates run() {
    for (const PlannedStage& stage : graph_.stages) {
      if (store_.complete(stage.folder())) continue;
      const bool remote = std::any_of(stage.components.begin(), stage.components.end(), [](const auto& component) {
        return component.kind == Mllm::kKind && component.params.contains("max_in_flight");
      });
      if (!remote) continue;
      try {
        if (!estimate(stage)) result_.unknown.push_back(stage.config.name);
      } catch (const Error& error) {
        result_.unknown.push_back(fmt::format("{} ({})", stage.config.name, error.what()));
      }
    }
    return std::move(result_);
  }

 private:
  struct Scratch {
    fs::path path = fs::temp_directory_path() / fmt::format("dt2it-plan-{}", getpid());
    ~Scratch() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  };
  struct Prompts {
    std::vector<Prompt> sample;
    std::int64_t count = 0;
  };

  // The stage that collected the prompts which `stage` works on, through stages between.
  const PlannedStage* source_of(const PlannedStage& stage) const {
    const PlannedStage* at = &stage;
    while (at && at->config.type != "collect") {
      at = at->inputs.empty() ? nullptr : graph_.find(at->inputs.front());
    }
    return at;
  }
  const PlannedStage* candidates_of(const PlannedStage& stage) const {
    const PlannedStage* at = &stage;
    while (at && at->config.type != "candidates") at = at->inputs.empty() ? nullptr : graph_.find(at->inputs.front());
    return at;
  }

  const Prompts& prompts_of(const PlannedStage& source) {
    const auto [it, fresh] = prompts_.try_emplace(source.config.name);
    if (!fresh) return it->second;
    Prompts& prompts = it->second;
    if (store_.complete(source.folder())) {
      for (Prompt& prompt : read_prompts(store_.finished(source.folder()) / "prompts.jsonl")) {
        ++prompts.count;
        if (prompts.sample.size() < kSample) prompts.sample.push_back(without_extra(prompt));
      }
      return prompts;
    }
    const auto scope = make_scope(source, nullptr);
    const std::string name = text_of(source.config.params, "dataset");
    const auto stream = scope->context().component<Dataset>(name)->prompts();
    for (Prompt prompt; prompts.sample.size() < kSample && stream->next(prompt);)
      prompts.sample.push_back(without_extra(prompt));
    prompts.count = static_cast<std::int64_t>(prompts.sample.size());
    if (prompts.sample.size() == kSample) {  // how many more there are, without reading their images
      const ComponentConfig* dataset = experiment_.component(Dataset::kKind, name);
      prompts.count = std::max(prompts.count, integer_of(dataset->params, "count", 0));
      if (const fs::path file = text_of(dataset->params, "file"); fs::is_regular_file(file)) {
        LineReader lines(file);
        std::int64_t count = 0;
        for (std::string_view line; lines.next(line);) count += !line.empty();
        prompts.count = std::max(prompts.count, count);
      }
    }
    if (const std::int64_t limit = integer_of(source.config.params, "limit", 0); limit > 0)
      prompts.count = std::min(prompts.count, limit);
    return prompts;
  }

  // Keys are not needed to plan.
  std::unique_ptr<StageScope> make_scope(const PlannedStage& stage, CallService* calls) {
    std::vector<ComponentConfig> components = stage.components;
    for (ComponentConfig& component : components)
      if (component.params.contains("api_key_env")) {
        component.params["api_key_env"] = {std::string()};
        component.params.erase("api_key_file");
      }
    auto scope = std::make_unique<StageScope>(registry_, std::move(components), media_.store(), experiment_.seed,
                                              scratch_.path, [](LogLevel, std::string_view) {});
    if (calls) scope->use_calls(*calls, stage.folder());
    return scope;
  }

  bool estimate(const PlannedStage& stage) {
    const PlannedStage* source = source_of(stage);
    if (!source) return false;
    const Prompts& prompts = prompts_of(*source);
    if (prompts.sample.empty()) return true;
    Probe probe;
    CallOptions options;
    options.probe = [&probe](const std::string& mllm, const Endpoint& endpoint, const ChatRequest& request) {
      probe.take(mllm, endpoint, request);
    };
    CallService calls(options, [](LogLevel, std::string_view) {});
    const auto scope = make_scope(stage, &calls);
    const Table& params = stage.config.params;
    const PlannedStage* writer = candidates_of(stage);
    std::int64_t shown = writer ? integer_of(writer->config.params, "count", 4) : 0;
    bool at_most = false;
    for (const Prompt& prompt : prompts.sample) {
      if (stage.config.type == "candidates") {
        // Drawn by the pool's weights; for the sum each model's share is as good.
        const std::vector<std::string> pool = texts_of(params, "pool");
        for (const std::string& name : pool)
          for (std::int64_t k = 0; k < shown; ++k) {
            ChatRequest request;
            request.messages = prompt.messages;
            request.sampling.max_tokens = integer_of(params, "max_tokens", 1024);
            request.sampling.sample = k;
            request.purpose = "candidates";
            scope->context().component<Mllm>(name)->chat(request);
          }
      } else if (stage.config.type == "score" || stage.config.type == "diversify") {
        std::vector<Response> responses(static_cast<std::size_t>(shown));
        std::vector<Score> scores(responses.size());
        for (std::size_t k = 0; k < responses.size(); ++k) {
          responses[k].id = std::to_string(k);
          responses[k].text = std::string(4 * kAssumedAnswer, 'x');
          responses[k].mllm = writer && !texts_of(writer->config.params, "pool").empty()
                                  ? texts_of(writer->config.params, "pool").front() : "";
          scores[k].status = Status::ok;
          scores[k].overall = 10;  // nothing to tell apart: the strategy does what it can
        }
        if (stage.config.type == "score") {
          scope->context().component<Scorer>(text_of(params, "scorer"))->score(prompt, responses);
        } else {
          at_most = true;
          scope->context().component<DiversityStrategy>(text_of(params, "strategy"))->extend(prompt, responses, scores);
        }
      } else {
        return false;
      }
    }
    const double factor = static_cast<double>(prompts.count) / static_cast<double>(prompts.sample.size());
    const double share = stage.config.type == "candidates" && !texts_of(params, "pool").empty()
                             ? 1.0 / static_cast<double>(texts_of(params, "pool").size()) : 1.0;
    for (const auto& [asker, asked] : probe.by_asker) add(stage, asker, asked, factor * share, at_most);
    return true;
  }

  void add(const PlannedStage& stage, const std::pair<std::string, std::string>& asker, const Probe::Asked& asked,
           double factor, bool at_most) {
    CallEstimate line;
    line.stage = stage.config.name;
    line.mllm = asker.first;
    line.purpose = asker.second;
    line.model = asked.endpoint.model;
    line.price_date = asked.endpoint.prices.date;
    line.batch = asked.endpoint.batch;
    line.at_most = at_most;
    const auto scaled = [&](double value) { return static_cast<std::int64_t>(value * factor + 0.5); };
    line.calls = scaled(static_cast<double>(asked.calls));
    line.prompt_tokens = scaled(static_cast<double>(asked.prompt_tokens));
    const auto common = static_cast<std::int64_t>(asked.beginning.size() / 4);
    if (common >= static_cast<std::int64_t>(kCachedFrom) && line.calls > 1)
      line.cached_tokens = std::min(line.prompt_tokens, common * (line.calls - 1));
    double answer = asked.limited ? 0.5 * static_cast<double>(asked.most_tokens) / static_cast<double>(asked.calls)
                                  : static_cast<double>(kAssumedAnswer);
    if (calls_)
      if (const auto mean = calls_->mean_answer(line.model, line.purpose)) {
        answer = *mean;
        line.from_answers = true;
      }
    line.completion_tokens = static_cast<std::int64_t>(answer * static_cast<double>(line.calls));
    line.cost = cost_of({line.prompt_tokens, line.cached_tokens, line.completion_tokens}, asked.endpoint.prices, line.batch);
    result_.lines.push_back(std::move(line));
  }

  const Experiment& experiment_;
  const StageGraph& graph_;
  PluginRegistry& registry_;
  const StageStore& store_;
  const Scratch scratch_;
  HostMedia media_;
  std::unique_ptr<CallStore> calls_;
  std::map<std::string, Prompts> prompts_;
  CallEstimates result_;
};

}  // namespace

CallEstimates estimate_calls(const Experiment& experiment, const StageGraph& graph, PluginRegistry& registry,
                             const StageStore& store, const fs::path& calls) {
  return Estimator(experiment, graph, registry, store, calls).run();
}

}  // namespace dt2it
