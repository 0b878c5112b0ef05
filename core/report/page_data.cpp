// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>

#include "core/report/analyses.hpp"
#include "core/report/answer_results.hpp"
#include "core/report/comparisons.hpp"
#include "core/report/curation_json.hpp"
#include "core/report/gallery.hpp"
#include "core/report/html.hpp"
#include "core/report/judge_statistics.hpp"
#include "core/report/tables.hpp"
#include "core/run/layout.hpp"
#include "core/util/json.hpp"
#include "core/util/shell_word.hpp"

namespace dt2it::report {

namespace {

constexpr std::size_t kCurvePoints = 200;

template <class Value>
void share(JsonWriter& json, const char* key, Value value, std::int64_t of) {
  json.key(key);
  if (of)
    json.value(static_cast<double>(value) / static_cast<double>(of));
  else
    json.null();
}

template <class List>
void strings(JsonWriter& json, const char* key, const List& list) {
  json.key(key).begin_array();
  for (const std::string& text : list) json.value(text);
  json.end_array();
}

void write_table(JsonWriter& json, const TextTable& table) {
  json.begin_object();
  json.key("title").value(table.title);
  strings(json, "header", table.header);
  json.key("rows").begin_array();
  for (const auto& row : table.rows) {
    json.begin_array();
    for (const std::string& cell : row) json.value(cell);
    json.end_array();
  }
  json.end_array();
  json.key("values").begin_array();
  for (const auto& row : table.values) {
    json.begin_array();
    for (double value : row) json.value(value);
    json.end_array();
  }
  json.end_array();
  strings(json, "notes", table.notes);
  json.end_object();
}

void write_stage(JsonWriter& json, const StageSummary& stage) {
  json.begin_object();
  json.key("name").value(stage.name);
  json.key("type").value(stage.type);
  json.key("key").value(stage.key.substr(0, 12));
  json.key("complete").value(stage.complete);
  if (stage.cost) {
    json.key("seconds").value(stage.cost->seconds);
    json.key("calls").value(stage.cost->calls);
    json.key("failures").value(stage.cost->failures);
    json.key("tokens").value(stage.cost->prompt_tokens + stage.cost->completion_tokens);
  }
  json.key("funnel").begin_array();
  for (const FunnelStep& step : stage.funnel) {
    json.begin_object();
    json.key("name").value(step.name);
    json.key("count").value(step.count);
    json.key("dropped").begin_array();
    for (const auto& [reason, count] : step.dropped) {
      json.begin_object();
      json.key("reason").value(reason);
      json.key("count").value(count);
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

// Means over equal stretches, so that a long training fits on a page and no peak is picked by
// chance.
void write_curve(JsonWriter& json, const TrainingCurve& curve) {
  const std::size_t n = curve.steps.size();
  const std::size_t points = std::min(n, kCurvePoints);
  json.begin_object();
  json.key("stage").value(curve.stage);
  const std::pair<const char*, double TrainStep::*> lines[] = {
      {"loss", &TrainStep::loss},
      {"accuracy", &TrainStep::accuracy},
      {"margin", &TrainStep::margin},
      {"chosen_reward", &TrainStep::chosen_reward},
      {"rejected_reward", &TrainStep::rejected_reward},
      {"gradient_norm", &TrainStep::gradient_norm},
      {"learning_rate", &TrainStep::learning_rate}};
  json.key("step").begin_array();
  for (std::size_t k = 0; k < points; ++k) json.value(curve.steps[(k + 1) * n / points - 1].step);
  json.end_array();
  for (const auto& [name, member] : lines) {
    json.key(name).begin_array();
    for (std::size_t k = 0; k < points; ++k) {
      const std::size_t begin = k * n / points, end = (k + 1) * n / points;
      double sum = 0;
      for (std::size_t i = begin; i < end; ++i) sum += curve.steps[i].*member;
      json.value(sum / static_cast<double>(end - begin));
    }
    json.end_array();
  }
  json.key("held_out").begin_array();
  for (const TrainStep& step : curve.steps)
    if (step.held_out) {
      json.begin_object().key("step").value(step.step).key("pairs").value(step.held_out->pairs);
      json.key("loss")
          .value(step.held_out->loss)
          .key("accuracy")
          .value(step.held_out->accuracy)
          .end_object();
    }
  json.end_array();
  // Of the last quarter of the steps: single batches have few pairs of a source.
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> sources;
  for (std::size_t i = n - n / 4; i < n; ++i)
    for (const SourceAccuracy& source : curve.steps[i].sources) {
      sources[source.source].first += source.pairs;
      sources[source.source].second += source.correct;
    }
  json.key("sources").begin_array();
  for (const auto& [name, counts] : sources) {
    json.begin_object().key("source").value(name).key("pairs").value(counts.first);
    share(json, "accuracy", static_cast<double>(counts.second), counts.first);
    json.end_object();
  }
  json.end_array();
  if (curve.timed && n > 0) {
    double seconds = 0;
    std::int64_t tokens = 0, pairs = 0, memory = 0;
    for (const TrainStep& step : curve.steps) {
      seconds += step.seconds;
      tokens += step.tokens;
      pairs += step.pairs;
      memory = std::max(memory, step.peak_memory_bytes);
    }
    json.key("seconds").value(seconds);
    json.key("tokens_per_second").value(seconds > 0 ? static_cast<double>(tokens) / seconds : 0);
    json.key("pairs_per_second").value(seconds > 0 ? static_cast<double>(pairs) / seconds : 0);
    json.key("peak_memory_bytes").value(memory);
  }
  json.end_object();
}

void write_judge(JsonWriter& json, const JudgeStatistics& judge) {
  json.begin_object();
  json.key("prompts").value(judge.prompts);
  json.key("scorers").begin_array();
  for (const ScorerStatistics& scorer : judge.scorers) {
    json.begin_object();
    json.key("name").value(scorer.name);
    json.key("scored").value(scorer.scored);
    share(json, "mean", scorer.sum, scorer.scored);
    json.key("histogram").begin_array();
    for (std::int64_t count : scorer.histogram) json.value(count);
    json.end_array();
    json.key("failed").begin_object();
    for (const auto& [status, count] : scorer.failed) json.key(status).value(count);
    json.end_object();
    json.key("places").begin_array();
    for (const auto& place : scorer.places) {
      json.begin_object();
      json.key("count").value(place.count);
      share(json, "score", place.score, place.count);
      share(json, "deviation", place.deviation, place.count);
      json.end_object();
    }
    json.end_array();
    json.end_object();
  }
  json.end_array();
  json.key("agreements").begin_array();
  for (const ScorerAgreement& one : judge.agreements) {
    json.begin_object();
    json.key("first").value(one.first);
    json.key("second").value(one.second);
    json.key("agree").value(one.agree);
    json.key("opposed").value(one.opposed);
    json.key("tie_first").value(one.tie_first);
    json.key("tie_second").value(one.tie_second);
    json.key("candidates").value(one.candidates);
    json.key("correlation").value(one.correlation);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_pictures(JsonWriter& json, const char* key,
                    const std::vector<GalleryPicture>& pictures) {
  json.key(key).begin_array();
  for (const GalleryPicture& one : pictures) {
    json.begin_object();
    json.key("caption").value(one.caption);
    json.key("url").value(one.data_url);
    json.end_object();
  }
  json.end_array();
}

void write_pair_body(JsonWriter& json, const GalleryPair& pair) {
  const std::pair<const char*, const std::string*> texts[] = {{"id", &pair.id},
                                                              {"source", &pair.source},
                                                              {"group", &pair.group},
                                                              {"question", &pair.question},
                                                              {"reference", &pair.reference},
                                                              {"chosen", &pair.chosen},
                                                              {"rejected", &pair.rejected},
                                                              {"chosen_id", &pair.chosen_id},
                                                              {"rejected_id", &pair.rejected_id}};
  for (const auto& [key, text] : texts) json.key(key).value(*text);
  if (pair.strength) {
    json.key("strength").value(*pair.strength);
  }
  if (!pair.truth.empty()) json.key("truth").raw(pair.truth);
  write_pictures(json, "pictures", pair.pictures);
  write_pictures(json, "rejected_pictures", pair.rejected_pictures);
  json.key("candidates").begin_array();
  for (const GalleryCandidate& one : pair.candidates) {
    json.begin_object();
    json.key("id").value(one.id);
    json.key("text").value(one.text);
    json.key("mllm").value(one.mllm);
    json.key("origin").value(one.origin);
    json.key("status").value(one.status);
    json.key("scores").begin_object();
    for (const auto& [scorer, score] : one.scores)
      if (!score.empty()) json.key(scorer).raw(score);
    json.end_object();
    json.end_object();
  }
  json.end_array();
}

void write_pair(JsonWriter& json, const GalleryPair& pair) {
  json.begin_object();
  write_pair_body(json, pair);
  json.end_object();
}

void write_change(JsonWriter& json, const LabelChange& change) {
  json.begin_object();
  write_pair_body(json, change.pair);
  json.key("stage")
      .value(change.stage)
      .key("kind")
      .value(change.kind)
      .key("label")
      .value(change.label);
  json.key("steps").begin_array();
  for (const LabelChange::Step& step : change.steps) {
    json.begin_object().key("curator").value(step.curator).key("action").value(step.action);
    json.key("reason").value(step.reason).key("opinions").value(step.opinions).end_object();
  }
  json.end_array().end_object();
}

// Runs may share stages: each file is read once.
class JudgeCache {
 public:
  const JudgeStatistics& of(const std::filesystem::path& folder) {
    auto found = known_.find(folder);
    if (found == known_.end())
      found = known_.emplace(folder, judge_statistics(folder / layout::kCandidates)).first;
    return found->second;
  }

 private:
  std::map<std::filesystem::path, JudgeStatistics> known_;
};

void write_run(JsonWriter& json, const RunSummary& run, const PageOptions& options,
               JudgeCache& judges) {
  json.begin_object();
  json.key("name").value(run.name);
  json.key("label").value(run.label);
  json.key("profile").value(run.profile);
  json.key("paper").value(run.paper);
  json.key("about").value(run.about);
  json.key("version").value(run.version);
  json.key("seed").value(static_cast<std::int64_t>(run.seed));
  json.key("stages").begin_array();
  for (const StageSummary& stage : run.stages) write_stage(json, stage);
  json.end_array();
  json.key("training").begin_array();
  for (const TrainingCurve& curve : run.training)
    if (!curve.steps.empty()) write_curve(json, curve);
  json.end_array();
  if (const StageSummary* stage = candidate_stage(run)) {
    const JudgeStatistics& judge = judges.of(stage->folder);
    if (!judge.scorers.empty()) {
      json.key("judge");
      write_judge(json, judge);
    }
  }
  write_curations(json, run);
  json.key("curation_steps");
  write_table(json, curation_steps_table(run));
  json.key("curation_judges");
  write_table(json, curation_judges_table(run));
  json.key("changes").begin_array();
  for (const LabelChange& change : make_changes(run, options.gallery, options.media))
    write_change(json, change);
  json.end_array();
  const StageSummary* pairs = pair_stage(run);
  json.key("pair_stage").value(pairs ? pairs->name : std::string());
  json.key("gallery").begin_array();
  for (const GalleryPair& pair : make_gallery(run, options.gallery, options.media))
    write_pair(json, pair);
  json.end_array();
  json.key("errors").begin_array();
  for (const GalleryError& error : make_errors(run, options.gallery / 2, options.media)) {
    json.begin_object().key("benchmark").value(error.benchmark).key("status").value(error.status);
    if (error.chosen_reward) json.key("chosen_reward").value(*error.chosen_reward);
    if (error.rejected_reward) json.key("rejected_reward").value(*error.rejected_reward);
    json.key("pair");
    write_pair(json, error.pair);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_analyses(JsonWriter& json, std::span<const RunSummary> runs) {
  json.begin_object();
  const std::pair<const char*, TextTable> tables[] = {{"conventions", conventions_table(runs)},
                                                      {"style", style_table(runs)},
                                                      {"pictures", pictures_table(runs)},
                                                      {"calibration", calibration_table(runs)},
                                                      {"agreement", agreement_table(runs)}};
  for (const auto& [key, table] : tables) {
    json.key(key);
    write_table(json, table);
  }
  // Curves of calibration: of each evaluation with its own pictures.
  json.key("curves").begin_array();
  for (const RunSummary& run : runs)
    for (const Evaluation& evaluation : run.evaluations) {
      const StageSummary* stage = run.stage(evaluation.stage);
      if (!stage || evaluation.benchmarks.empty() ||
          !evaluation.benchmarks.front().pictures.empty())
        continue;
      const Calibration result = calibration(read_answers(*stage));
      if (result.count == 0) continue;
      json.begin_object().key("label").value(run.label).key("bins").begin_array();
      for (const CalibrationBin& bin : result.bins) {
        json.begin_object()
            .key("low")
            .value(bin.low)
            .key("high")
            .value(bin.high)
            .key("count")
            .value(bin.count);
        share(json, "accuracy", bin.accuracy * static_cast<double>(bin.count), bin.count);
        json.end_object();
      }
      json.end_array().end_object();
    }
  json.end_array().end_object();
}

// What was answered and picked: tables, and the figure by n of each who picks.
void write_answers(JsonWriter& json, std::span<const RunSummary> runs) {
  json.begin_object().key("picks");
  write_table(json, answers_table(runs));
  json.key("gains");
  write_table(json, gains_table(runs));
  json.key("before_after");
  write_table(json, before_after_table(runs));
  json.key("curves").begin_array();
  for (const RunSummary& run : runs)
    for (const AnswerResult& result : read_answers(run)) {
      if (result.model.empty() || result.curves.empty()) continue;
      json.begin_object().key("title").value(run.label + ", " + result.benchmark);
      json.key("scale").value(is_rating(result.counted().metrics.front().name) ? 1 : 100);
      json.key("random").value(result.picks.front().metrics.front().value);
      json.key("n").begin_array();
      for (const std::int64_t n : result.curves.front().n) json.value(n);
      json.end_array().key("lines").begin_array();
      for (const AnswerResult::Curve& curve : result.curves) {
        json.begin_object().key("by").value(curve.by).key("value").begin_array();
        for (const double value : curve.value) json.value(value);
        json.end_array().end_object();
      }
      json.end_array().end_object();
    }
  json.end_array().end_object();
}

// One line for each profile and seed, and other settings.
std::string command_of(std::span<const RunSummary> runs) {
  std::vector<std::pair<std::string, std::string>> lines;  // options, experiments
  for (const RunSummary& run : runs) {
    std::string options = run.profile.empty() ? "" : " --profile " + shell_word(run.profile);
    bool seeded = false;
    for (const std::string& setting : run.settings) {
      options += " --set " + shell_word(setting);
      seeded = seeded || setting.starts_with("experiment.seed=");
    }
    if (run.seed != 0 && !seeded) options += " --set experiment.seed=" + std::to_string(run.seed);
    for (const std::string& folder : run.plugin_path)
      options += " --plugin-path " + shell_word(folder);
    auto line = std::find_if(lines.begin(), lines.end(),
                             [&](const auto& one) { return one.first == options; });
    if (line == lines.end()) line = lines.insert(lines.end(), {options, "dt2it run"});
    line->second +=
        ' ' + shell_word(run.file.empty() ? "experiments/" + run.name + ".toml" : run.file);
  }
  std::string command;
  for (const auto& [options, experiments] : lines)
    command += (command.empty() ? "" : "\n") + experiments + options;
  return command;
}

}  // namespace

std::string page_data(std::span<const RunSummary> runs, const PageOptions& options) {
  JudgeCache judges;
  JsonWriter json;
  json.begin_object();
  json.key("command").value(options.command.empty() ? command_of(runs) : options.command);
  json.key("first").begin_array();
  for (const TextTable& table : options.first) write_table(json, table);
  json.end_array();
  json.key("answers");
  write_answers(json, runs);
  json.key("overview");
  write_table(json, overview_table(runs));
  json.key("seeds");
  write_table(json, seeds_table(runs));
  json.key("comparisons");
  write_table(json, comparisons_table(runs));
  json.key("benchmarks").begin_array();
  for (const TextTable& table : benchmark_tables(runs)) write_table(json, table);
  json.end_array();
  json.key("analyses");
  write_analyses(json, runs);
  json.key("noise");
  write_table(json, noise_table(runs));
  json.key("curation");
  write_table(json, curation_table(runs));
  json.key("curation_cost");
  write_table(json, curation_cost_table(runs));
  json.key("mixture");
  write_table(json, mixture_table(runs));
  json.key("bias");
  write_table(json, bias_table(runs));
  json.key("judges");
  write_table(json, judges_table(runs));
  json.key("pair_judges");
  write_table(json, pair_judges_table(runs));
  json.key("calls");
  write_table(json, calls_table(runs));
  json.key("expectations").begin_array();
  for (const Expectation& one : check_expectations(runs)) {
    json.begin_object();
    json.key("run").value(one.run);
    json.key("claim").value(one.claim);
    json.key("state").value(std::string(one.state == Expectation::State::holds   ? "holds"
                                        : one.state == Expectation::State::fails ? "fails"
                                                                                 : "unknown"));
    json.key("detail").value(one.detail);
    json.end_object();
  }
  json.end_array();
  json.key("runs").begin_array();
  for (const RunSummary& run : runs) write_run(json, run, options, judges);
  json.end_array();
  json.end_object();
  return json.text();
}

}  // namespace dt2it::report
