// SPDX-License-Identifier: Apache-2.0
#include "core/stages/call_estimate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "core/calls/token_estimate.hpp"
#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/planned_pairs.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/scratch_folder.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/diversity_strategy.hpp"
#include "dt2it/error.hpp"
#include "dt2it/request_key.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/scorer.hpp"

namespace dt2it {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kSample = 24;          // prompts
constexpr std::size_t kAssumedAnswer = 400;  // tokens, where nothing is known
constexpr std::size_t kCachedFrom = 1024;    // tokens of a common beginning that providers cache
constexpr std::int64_t kReviewed = 600;  // pairs of a source that a curator is asked about at most
constexpr double kAssumedShare = 0.2;    // of pairs that come to the judges of an iteration

// Takes requests down and answers none. Thread-safe: curators ask from several threads.
struct Probe {
  std::mutex mutex;
  struct Asked {
    std::int64_t calls = 0, prompt_tokens = 0, most_tokens = 0;
    std::string first, beginning;  // of a request; what all have in common
    Endpoint endpoint;
    bool limited = true;
    void add(const Asked& more) {
      calls += more.calls;
      prompt_tokens += more.prompt_tokens;
      most_tokens += more.most_tokens;
      limited = limited && more.limited;
      const auto end = std::mismatch(beginning.begin(), beginning.end(), more.beginning.begin(),
                                     more.beginning.end())
                           .first;
      beginning.erase(end, beginning.end());
    }
  };
  std::map<std::pair<std::string, std::string>, Asked> by_asker;  // mllm, purpose

  void take(const std::string& mllm, const Endpoint& endpoint, const ChatRequest& request) {
    const std::string text = request_text(request);
    const std::int64_t tokens = dt2it::prompt_tokens(request, endpoint.image_tokens);
    std::lock_guard lock(mutex);
    Asked& asked = by_asker[{mllm, request.purpose}];
    asked.endpoint = endpoint;
    if (asked.calls == 0) asked.first = asked.beginning = text;
    const auto end =
        std::mismatch(asked.beginning.begin(), asked.beginning.end(), text.begin(), text.end())
            .first;
    if (text != asked.first) asked.beginning.erase(end, asked.beginning.end());
    ++asked.calls;
    asked.prompt_tokens += tokens;
    asked.limited = asked.limited && request.sampling.max_tokens.has_value();
    asked.most_tokens += request.sampling.max_tokens.value_or(0);
  }
};

// In place of a model that is not trained yet: it finds every label wrong, so that curators which ask judges about what
// they would flip ask about as much as they can.
class Contrary final : public RewardModel {
 public:
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> all;
    for (const RewardRequest& request : requests) {
      std::vector<Reward>& mine = all.emplace_back(request.responses.size());
      for (std::size_t i = 0; i < mine.size(); ++i) {
        mine[i].status = Status::ok;
        mine[i].value =
            static_cast<double>(i < request.original_index.size() ? request.original_index[i] : i);
      }
    }
    return all;
  }
};

class Estimator {
 public:
  Estimator(const Experiment& experiment, const StageGraph& graph, PluginRegistry& registry,
            const StageStore& store, const fs::path& calls)
      : experiment_(experiment),
        graph_(graph),
        registry_(registry),
        store_(store),
        media_(registry, scratch_.path() / "media"),
        pairs_(
            graph, store, [this](const PlannedStage& stage) { return make_scope(stage, nullptr); },
            [this](const PlannedStage& stage) { return distilled(stage); }) {
    if (fs::exists(calls)) calls_ = std::make_unique<CallStore>(calls);
  }

  CallEstimates run() {
    for (const PlannedStage& stage : graph_.stages) {
      if (store_.complete(stage.folder())) continue;
      if (stage.config.type == "pair" || !std::ranges::any_of(stage.components, is_remote))
        continue;  // pair names scorers, and asks none
      try {
        const bool curates = stage.config.type == "curate" || stage.config.type == "audit";
        if (!(curates ? estimate_curation(stage) : estimate(stage)))
          result_.unknown.push_back(stage.config.name);
      } catch (const Error& error) {
        result_.unknown.push_back(fmt::format("{} ({})", stage.config.name, error.what()));
      }
    }
    for (const StageConfig& stage : experiment_.stages)
      if (stage.type == "iterate") estimate_iteration(stage.name + ".");
    return std::move(result_);
  }

 private:
  static bool is_remote(const ComponentConfig& component) {
    return component.kind == Mllm::kKind && component.params.contains("max_in_flight");
  }

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
    while (at && at->config.type != "candidates")
      at = at->inputs.empty() ? nullptr : graph_.find(at->inputs.front());
    return at;
  }

  const Prompts& prompts_of(const PlannedStage& source) {
    const auto [it, fresh] = prompts_.try_emplace(source.config.name);
    if (!fresh) return it->second;
    Prompts& prompts = it->second;
    if (store_.complete(source.folder())) {
      for (Prompt& prompt : read_prompts(store_.finished(source.folder()) / layout::kPrompts)) {
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
    if (prompts.sample.size() ==
        kSample) {  // how many more there are, without reading their images
      const ComponentConfig* dataset = experiment_.component(Dataset::kKind, name);
      prompts.count = std::max(prompts.count, records_of(dataset->params));
    }
    if (const std::int64_t limit = integer_of(source.config.params, "limit", 0); limit > 0)
      prompts.count = std::min(prompts.count, limit);
    return prompts;
  }

  // The most that a stage of type pair makes of its prompts.
  std::optional<PlannedPairs::Distilled> distilled(const PlannedStage& stage) {
    const PlannedStage *source = source_of(stage), *writer = candidates_of(stage);
    if (!source || !writer) return std::nullopt;
    const Prompts& prompts = prompts_of(*source);
    const std::int64_t shown = integer_of(writer->config.params, "count", 4),
                       most = integer_of(stage.config.params, "max_pairs", 4);
    std::int64_t each = shown * (shown - 1) / 2;
    if (most > 0) each = std::min(each, most);
    bool adds = false;
    for (const PlannedStage* at = &stage; at && at != writer;
         at = at->inputs.empty() ? nullptr : graph_.find(at->inputs.front()))
      adds = adds || at->config.type == "diversify";
    const std::int64_t most_new = integer_of(stage.config.params, "max_new_pairs", 4);
    if (adds && most_new == 0) return std::nullopt;  // as many as the strategy likes
    return PlannedPairs::Distilled{prompts.sample, prompts.count * (each + (adds ? most_new : 0))};
  }

  // Does the component come to a remote model, by what its parameters name?
  bool asks(const PlannedStage& stage, const std::string& kind, const std::string& name) const {
    for (const ComponentConfig& component : stage.components) {
      if (component.kind != kind || component.name != name) continue;
      if (is_remote(component)) return true;
      const ComponentDescription* description = registry_.find(kind, component.type);
      if (!description) return false;
      for (const ParamSpec& spec : description->params) {
        if (spec.component_kind.empty()) continue;
        std::vector<std::string> names = texts_of(component.params, spec.name.c_str());
        if (const std::string one = text_of(component.params, spec.name.c_str()); !one.empty())
          names.push_back(one);
        for (const std::string& next : names)
          if (asks(stage, spec.component_kind, next)) return true;
      }
    }
    return false;
  }

  // What a curator asks about `count` pairs of one source, made of those that are known.
  std::map<std::pair<std::string, std::string>, Probe::Asked> asked_by(
      const PlannedStage& stage, const std::string& curator,
      const std::vector<PreferencePair>& sample, std::size_t count) {
    Probe probe;
    CallOptions options;
    options.probe = [&probe](const std::string& mllm, const Endpoint& endpoint,
                             const ChatRequest& request) { probe.take(mllm, endpoint, request); };
    CallService calls(options, [](LogLevel, std::string_view) {});
    const auto scope = make_scope(stage, &calls);
    for (const ComponentConfig& component : stage.components)
      if (component.kind == RewardModel::kKind && !asks(stage, component.kind, component.name))
        scope->stand_in(component.kind, component.name,
                        std::static_pointer_cast<void>(
                            std::shared_ptr<RewardModel>(std::make_shared<Contrary>())));
    std::vector<PreferencePair> pairs;
    for (std::size_t i = 0; i < count; ++i) {
      pairs.push_back(sample[i % sample.size()]);
      if (i >= sample.size()) pairs.back().id += fmt::format("+{}", i / sample.size());
    }
    scope->context().component<Curator>(curator)->review(pairs);
    return std::move(probe.by_asker);
  }

  bool estimate_curation(const PlannedStage& stage) {
    const std::optional<PairsAhead> pairs = pairs_.before(stage);
    if (!pairs) return false;
    std::vector<std::string> chain = texts_of(stage.config.params, "curators");
    if (stage.config.type == "audit") chain = {text_of(stage.config.params, "curator")};
    bool at_most = pairs->at_most;
    Curation& curation = curation_[stage.config.name];
    curation.pairs = pairs->count();
    for (const std::string& curator : chain) {
      if (asks(stage, Curator::kKind, curator)) {
        const bool each = reviews_each(stage, curator);
        std::map<std::pair<std::string, std::string>, Probe::Asked> sum;
        for (const auto& [name, source] : pairs->sources) {
          if (source.count <= 0 || source.sample.empty()) continue;
          // Of many, two sizes tell whether it asks about each or about a sample: what it asks beyond grows as between them.
          const auto many =
              static_cast<std::size_t>(std::min<std::int64_t>(source.count, kReviewed));
          auto asked = asked_by(stage, curator, source.sample, many);
          if (source.count > static_cast<std::int64_t>(many)) {
            auto fewer = asked_by(stage, curator, source.sample, many / 2);
            const double beyond =
                static_cast<double>(source.count - static_cast<std::int64_t>(many)) /
                static_cast<double>(many - many / 2);
            for (auto& [asker, total] : asked) {
              const Probe::Asked& half = fewer[asker];
              const auto grow = [&](std::int64_t& to, std::int64_t from) {
                to += static_cast<std::int64_t>(beyond * static_cast<double>(to - from) + 0.5);
              };
              grow(total.calls, half.calls);
              grow(total.prompt_tokens, half.prompt_tokens);
              grow(total.most_tokens, half.most_tokens);
            }
          }
          for (auto& [asker, total] : asked) {
            const auto [it, fresh] = sum.try_emplace(asker, total);
            if (!fresh) it->second.add(total);
          }
        }
        std::int64_t calls = 0;
        for (const auto& [asker, total] : sum) {
          calls += total.calls;
          add(stage, asker, total, 1, at_most || !each);
        }
        curation.calls += calls;
        if (each) curation.judge_all = std::max(curation.judge_all, calls);
      }
      at_most = true;  // what this one settles does not come to the next
    }
    return true;
  }

  // Only what a curator asks about every pair is known; one that asks about another's flips may ask less.
  bool reviews_each(const PlannedStage& stage, const std::string& curator) const {
    for (const ComponentConfig& component : stage.components)
      if (component.kind == Curator::kKind && component.name == curator)
        if (const ComponentDescription* description =
                registry_.find(component.kind, component.type))
          return std::ranges::none_of(description->params, [](const ParamSpec& spec) {
            return spec.component_kind == Curator::kKind ||
                   spec.component_kind == RewardModel::kKind;
          });
    return false;
  }

  void estimate_iteration(const std::string& prefix) {
    IterationEstimate sum;
    sum.stage = prefix.substr(0, prefix.size() - 1);
    double judged = 0, reviewed = 0;
    for (const PlannedStage& stage : graph_.stages) {
      if (stage.config.type != "curate" || !stage.config.name.starts_with(prefix)) continue;
      if (store_.complete(stage.folder())) {
        const auto [some, all] = share_judged(stage);
        judged += static_cast<double>(some);
        reviewed += static_cast<double>(all);
      }
      const auto found = curation_.find(stage.config.name);
      if (found == curation_.end()) continue;
      sum.full += found->second.calls;
      const bool fresh = std::ranges::all_of(texts_of(stage.config.params, "pairs"),
                                             [&](const std::string& input) {
                                               const PlannedStage* at = graph_.find(input);
                                               return at && at->config.type == "collect_pairs";
                                             });
      if (!fresh) continue;
      sum.once += found->second.judge_all;
      sum.pairs += found->second.pairs;
    }
    if (sum.once == 0) return;
    sum.measured = reviewed > 0;
    sum.share = sum.measured ? judged / reviewed : kAssumedShare;
    sum.expected = static_cast<std::int64_t>(sum.share * static_cast<double>(sum.full) + 0.5);
    result_.iterations.push_back(std::move(sum));
  }

  // Of a finished stage: pairs that came to its judges, and all.
  std::pair<std::int64_t, std::int64_t> share_judged(const PlannedStage& stage) {
    std::set<std::string> asking;
    for (const std::string& curator : texts_of(stage.config.params, "curators"))
      if (asks(stage, Curator::kKind, curator)) asking.insert(curator);
    std::set<std::string> judged, all;
    JsonLineReader lines(store_.finished(stage.folder()) / layout::kDecisions);
    const auto text = [](const simdjson::dom::element& line, const char* key) {
      std::string_view value;
      return line[key].get(value) ? std::string() : std::string(value);
    };
    for (simdjson::dom::element line; lines.next(line);) {
      const std::string id = text(line, "source") + "\n" + text(line, "id");
      all.insert(id);
      if (asking.contains(text(line, "curator"))) judged.insert(id);
    }
    return {static_cast<std::int64_t>(judged.size()), static_cast<std::int64_t>(all.size())};
  }

  // Keys are not needed to plan.
  std::unique_ptr<StageScope> make_scope(const PlannedStage& stage, CallService* calls) {
    std::vector<ComponentConfig> components = stage.components;
    for (ComponentConfig& component : components)
      if (component.params.contains("api_key_env")) {
        component.params["api_key_env"] = {std::string()};
        component.params.erase("api_key_file");
      }
    auto scope = std::make_unique<StageScope>(registry_, std::move(components), media_.store(),
                                              experiment_.seed, scratch_.path(),
                                              [](LogLevel, std::string_view) {});
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
    options.probe = [&probe](const std::string& mllm, const Endpoint& endpoint,
                             const ChatRequest& request) { probe.take(mllm, endpoint, request); };
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
                                  ? texts_of(writer->config.params, "pool").front()
                                  : "";
          scores[k].status = Status::ok;
          scores[k].overall = 10;  // nothing to tell apart: the strategy does what it can
        }
        if (stage.config.type == "score") {
          scope->context().component<Scorer>(text_of(params, "scorer"))->score(prompt, responses);
        } else {
          at_most = true;
          scope->context()
              .component<DiversityStrategy>(text_of(params, "strategy"))
              ->extend(prompt, responses, scores);
        }
      } else {
        return false;
      }
    }
    const double factor =
        static_cast<double>(prompts.count) / static_cast<double>(prompts.sample.size());
    const double share = stage.config.type == "candidates" && !texts_of(params, "pool").empty()
                             ? 1.0 / static_cast<double>(texts_of(params, "pool").size())
                             : 1.0;
    for (const auto& [asker, asked] : probe.by_asker)
      add(stage, asker, asked, factor * share, at_most);
    return true;
  }

  void add(const PlannedStage& stage, const std::pair<std::string, std::string>& asker,
           const Probe::Asked& asked, double factor, bool at_most) {
    CallEstimate line;
    line.stage = stage.config.name;
    line.mllm = asker.first;
    line.purpose = asker.second;
    line.model = asked.endpoint.model;
    line.price_date = asked.endpoint.prices.date;
    line.batch = asked.endpoint.batch;
    line.at_most = at_most;
    const auto scaled = [&](double value) {
      return static_cast<std::int64_t>(value * factor + 0.5);
    };
    line.calls = scaled(static_cast<double>(asked.calls));
    line.prompt_tokens = scaled(static_cast<double>(asked.prompt_tokens));
    const auto common = static_cast<std::int64_t>(asked.beginning.size() / 4);
    if (common >= static_cast<std::int64_t>(kCachedFrom) && line.calls > 1)
      line.cached_tokens = std::min(line.prompt_tokens, common * (line.calls - 1));
    double answer = asked.limited ? 0.5 * static_cast<double>(asked.most_tokens) /
                                        static_cast<double>(asked.calls)
                                  : static_cast<double>(kAssumedAnswer);
    if (calls_)
      if (const auto mean = calls_->mean_answer(line.model, line.purpose)) {
        answer = *mean;
        line.from_answers = true;
      }
    line.completion_tokens = static_cast<std::int64_t>(answer * static_cast<double>(line.calls));
    line.cost = cost_of({line.prompt_tokens, line.cached_tokens, line.completion_tokens},
                        asked.endpoint.prices, line.batch);
    result_.lines.push_back(std::move(line));
  }

  const Experiment& experiment_;
  const StageGraph& graph_;
  PluginRegistry& registry_;
  const StageStore& store_;
  const ScratchFolder scratch_{"plan"};
  HostMedia media_;
  std::unique_ptr<CallStore> calls_;
  std::map<std::string, Prompts> prompts_;
  PlannedPairs pairs_;
  struct Curation {
    std::int64_t calls = 0, pairs = 0;
    std::int64_t judge_all = 0;  // calls to judge every pair once
  };
  std::map<std::string, Curation> curation_;  // by stage
  CallEstimates result_;
};

}  // namespace

CallEstimates estimate_calls(const Experiment& experiment, const StageGraph& graph,
                             PluginRegistry& registry, const StageStore& store,
                             const fs::path& calls) {
  return Estimator(experiment, graph, registry, store, calls).run();
}

}  // namespace dt2it
