// SPDX-License-Identifier: Apache-2.0
// Best of n (paper section 4.5, Table 5): a reward model picks one of n answers to each question; the benchmark's own figures of
// what was picked, beside a blind pick, the longest answer, and the best there was.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/answer_grades.hpp"
#include "core/stages/answering.hpp"
#include "core/stages/stages.hpp"
#include "core/util/characters.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr int kDraws = 1000;  // of the bootstrap

struct TableParams {
  std::vector<std::string> benchmarks, answers, grades, rewards;
  std::string mllm;
  std::string reward_model;

  static void describe(Schema<TableParams>& schema) {
    schema
        .component<AnswerBenchmark>("benchmarks", &TableParams::benchmarks,
                                    "Benchmarks whose figures are made.")
        .required();
    schema
        .component<StageInputs>("answers", &TableParams::answers,
                                "Stages of type answers, one for each benchmark.")
        .required();
    schema
        .component<StageInputs>("grades", &TableParams::grades,
                                "Stages of type grade, one for each benchmark.")
        .required();
    schema.component<StageInputs>(
        "rewards", &TableParams::rewards,
        "Stages of type reward, one for each benchmark; none: no model picks.");
    schema.field("mllm", &TableParams::mllm, "Who answered, as tables name it.");
    schema.field("reward_model", &TableParams::reward_model, "Who picks, as tables name it.");
  }
};

// How much each answer to each question is worth to one who picks; NaN: never picked.
struct Picker {
  std::string name;
  std::vector<std::vector<double>> values;
};

class Board {
 public:
  Board(const TableParams& params, std::size_t at, StageRun& stage)
      : name_(params.benchmarks[at]),
        benchmark_(stage.context().component<AnswerBenchmark>(name_)) {
    const CandidateFile sets(stage.input(params.answers[at]) / layout::kCandidates);
    grades_ = read_grades(stage.input(params.grades[at]) / layout::kGrades);
    if (grades_.size() != sets.size())
      throw DataError(
          fmt::format("stages '{}' and '{}' do not belong together: {} and {} questions",
                      params.answers[at], params.grades[at], sets.size(), grades_.size()));
    Picker longest{"longest", {}}, oracle{"oracle", {}};
    for (std::size_t row = 0; row < sets.size(); ++row) {
      CandidateSet set = sets.read(row);
      ids_.push_back(set.prompt.id);
      if (grades_[row].size() != set.candidates.size())
        throw DataError(
            fmt::format("stages '{}' and '{}' do not belong together: question '{}' (row {}) has "
                        "{} answers and {} grades",
                        params.answers[at], params.grades[at], set.prompt.id, row,
                        set.candidates.size(), grades_[row].size()));
      auto& lengths = longest.values.emplace_back();
      auto& scores = oracle.values.emplace_back();
      for (std::size_t k = 0; k < set.candidates.size(); ++k) {
        const bool answered = is_answer(set.candidates[k]);
        lengths.push_back(answered ? static_cast<double>(characters(set.candidates[k].text))
                                   : kNone);
        AnswerGrade& grade = grades_[row].at(k);
        scores.push_back(grade.ok() ? grade.score : kNone);
        if (!grade.judge.empty())
          judges_.insert(grade.model.empty() ? grade.judge
                                             : grade.judge + " (" + grade.model + ")");
        grade.row = row;
        grade.replies.clear();  // copied often from here on
        if (grade.ok()) grade.detail.clear();
      }
      n_ = std::max(n_, set.candidates.size());
      questions_.push_back(std::move(set.prompt));
    }
    if (!params.rewards.empty()) {
      Picker model{params.reward_model.empty() ? "reward model" : params.reward_model, {}};
      for (const auto& rewards : read_rewards(stage.input(params.rewards[at]) / layout::kRewards)) {
        const std::size_t row = model.values.size();
        auto& values = model.values.emplace_back();
        if (row < grades_.size() && rewards.size() != grades_[row].size())
          throw DataError(
              fmt::format("stage '{}' has {} rewards for question '{}' (row {}), not {}",
                          params.rewards[at], rewards.size(), ids_[row], row, grades_[row].size()));
        for (const Reward& reward : rewards) values.push_back(reward.ok() ? reward.value : kNone);
      }
      if (model.values.size() != grades_.size())
        throw DataError(fmt::format("stage '{}' has rewards of {} questions, not {}",
                                    params.rewards[at], model.values.size(), grades_.size()));
      pickers_.push_back(std::move(model));
      model_picks_ = true;
    }
    pickers_.push_back(std::move(longest));
    pickers_.push_back(std::move(oracle));
  }

  void write(JsonWriter& json, LineWriter& picked, StageRun& stage, const std::string& mllm) {
    json.begin_object()
        .key("benchmark")
        .value(name_)
        .key("edition")
        .value(benchmark_->edition(questions_.size()));
    json.key("mllm").value(mllm).key("n").value(n_).key("questions").value(questions_.size());
    json.key("judges").begin_array();
    for (const std::string& judge : judges_) json.value(judge);
    json.end_array();
    write_statuses(json);
    json.key("picks").begin_array();
    write_metrics(json, "random", blind());
    write_metrics(json, "random draw", drawn(stage));
    for (const Picker& picker : pickers_) write_metrics(json, picker.name, picks(picker, n_));
    json.end_array();
    json.key("curves").begin_array();
    for (const Picker& picker : pickers_) {
      json.begin_object().key("by").value(picker.name).key("n").begin_array();
      for (const std::size_t k : subset_sizes(n_)) json.value(k);
      json.end_array().key("value").begin_array();
      for (const std::size_t k : subset_sizes(n_)) {
        stage.check_stop();
        json.value(headline(picks(picker, k)));
      }
      json.end_array().end_object();
    }
    json.end_array();
    if (model_picks_) write_gains(json, stage);
    json.end_object();
    write_picked(picked);
  }

 private:
  std::vector<AnswerGrade> blind() const {
    std::vector<AnswerGrade> all;
    for (const auto& grades : grades_)
      for (const AnswerGrade& grade : grades) {
        all.push_back(grade);
        all.back().weight = 1.0 / static_cast<double>(grades.size());
      }
    return all;
  }

  std::vector<AnswerGrade> drawn(StageRun& stage) const {
    std::vector<AnswerGrade> all;
    for (std::size_t row = 0; row < grades_.size(); ++row)
      if (!grades_[row].empty())
        all.push_back(grades_[row][stage.context()
                                       .rng(fmt::format("blind/{}/{}", row, ids_[row]))
                                       .below(grades_[row].size())]);
    return all;
  }

  // The expectation over all subsets of k of the answers; with all of them what the picker really takes.
  std::vector<AnswerGrade> picks(const Picker& picker, std::size_t k) const {
    std::vector<AnswerGrade> all;
    for (std::size_t row = 0; row < grades_.size(); ++row) {
      const auto weights =
          subset_weights(picker.values[row], std::min(k, picker.values[row].size()));
      for (std::size_t i = 0; i < weights.size(); ++i)
        if (weights[i] > 0) {
          all.push_back(grades_[row][i]);
          all.back().weight = weights[i];
        }
    }
    return all;
  }

  double headline(std::span<const AnswerGrade> grades) const {
    const auto metrics = benchmark_->summarise(questions_, grades);
    return metrics.empty() ? kNone : metrics.front().value;
  }

  void write_statuses(JsonWriter& json) const {
    std::map<std::string, std::size_t> failed;
    std::size_t all = 0;
    for (const auto& grades : grades_)
      for (const AnswerGrade& grade : grades) {
        ++all;
        if (!grade.ok()) ++failed[std::string(to_string(grade.status))];
      }
    json.key("answers").value(all).key("failed").begin_object();
    for (const auto& [status, count] : failed) json.key(status).value(count);
    json.end_object();
  }

  void write_metrics(JsonWriter& json, const std::string& by,
                     std::span<const AnswerGrade> grades) const {
    json.begin_object().key("by").value(by).key("metrics").begin_array();
    for (const Metric& metric : benchmark_->summarise(questions_, grades))
      json.raw(to_json(metric));
    json.end_array().end_object();
  }

  // What the model's pick has more than a blind one, by resampling questions: they are what varies from test to test.
  void write_gains(JsonWriter& json, StageRun& stage) const {
    std::vector<AnswerGrade> model = picks(pickers_.front(), n_), random = blind();
    const std::vector<AnswerGrade> model_once = model, random_once = random;
    const auto differences = [&] {
      std::map<std::string, double> result;
      for (const Metric& metric : benchmark_->summarise(questions_, random))
        result[metric.name] = -metric.value;
      for (const Metric& metric : benchmark_->summarise(questions_, model))
        if (const auto found = result.find(metric.name); found != result.end())
          found->second += metric.value;
      return result;
    };
    const std::map<std::string, double> gains = differences();
    std::map<std::string, std::vector<double>> drawn;
    Rng rng = stage.context().rng("gain/" + name_);
    std::vector<double> times(grades_.size());
    const auto weigh = [&](std::vector<AnswerGrade>& grades, const std::vector<AnswerGrade>& once) {
      for (std::size_t i = 0; i < grades.size(); ++i)
        grades[i].weight = once[i].weight * times[grades[i].row];
    };
    for (int draw = 0; draw < kDraws; ++draw) {
      if (draw % 50 == 0) stage.check_stop();
      std::ranges::fill(times, 0);
      for (std::size_t i = 0; i < times.size(); ++i) times[rng.below(times.size())] += 1;
      weigh(model, model_once);
      weigh(random, random_once);
      for (const auto& [name, gain] : differences())
        if (std::isfinite(gain)) drawn[name].push_back(gain);
    }
    json.key("gains").begin_array();
    for (const auto& [name, gain] : gains) {
      std::vector<double>& of = drawn[name];
      if (of.size() < 100) continue;
      std::ranges::sort(of);
      json.begin_object()
          .key("by")
          .value(pickers_.front().name)
          .key("metric")
          .value(name)
          .key("mean")
          .value(gain);
      json.key("low")
          .value(of[of.size() / 40])
          .key("high")
          .value(of[of.size() - 1 - of.size() / 40])
          .end_object();
    }
    json.end_array();
  }

  void write_picked(LineWriter& out) const {
    for (std::size_t row = 0; row < grades_.size(); ++row) {
      JsonWriter line;
      line.begin_object()
          .key("benchmark")
          .value(name_)
          .key("id")
          .value(ids_[row])
          .key("picks")
          .begin_object();
      for (const Picker& picker : pickers_)
        if (const std::size_t best = pick_best(picker.values[row]);
            best < picker.values[row].size())
          line.key(picker.name).value(best);
      line.end_object().key("scores").begin_array();
      for (const AnswerGrade& grade : grades_[row]) line.value(grade.ok() ? grade.score : kNone);
      line.end_array();
      if (model_picks_) {
        line.key("rewards").begin_array();
        for (const double reward : pickers_.front().values[row]) line.value(reward);
        line.end_array();
      }
      line.end_object();
      out.write(line.text());
    }
  }

  const std::string name_;
  const std::shared_ptr<AnswerBenchmark> benchmark_;
  std::vector<Prompt> questions_;
  std::vector<std::string> ids_;
  std::vector<std::vector<AnswerGrade>> grades_;
  std::vector<Picker> pickers_;  // the reward model first, where there is one
  std::set<std::string> judges_;
  std::size_t n_ = 0;
  bool model_picks_ = false;
};

void run(const TableParams& params, StageRun& stage) {
  const std::size_t count = params.benchmarks.size();
  if (params.answers.size() != count || params.grades.size() != count ||
      (!params.rewards.empty() && params.rewards.size() != count))
    throw ConfigError(
        fmt::format("answer_table: {} benchmarks, {} answers, {} grades, {} rewards (as many of "
                    "each are expected; rewards "
                    "may be absent)",
                    count, params.answers.size(), params.grades.size(), params.rewards.size()));
  JsonWriter json;
  LineWriter picked(stage.output / layout::kPicked);
  stage.progress->set_total(count);
  json.begin_object().key("benchmarks").begin_array();
  for (std::size_t at = 0; at < count; ++at) {
    stage.check_stop();
    Board(params, at, stage).write(json, picked, stage, params.mllm);
    stage.progress->add(1);
  }
  json.end_array().end_object();
  picked.close();
  write_file_atomically(stage.output / layout::kAnswers, json.text() + "\n");
}

}  // namespace

StageType answer_table_stage() {
  return make_stage<TableParams>("answer_table",
                                 "Figures of what a reward model picks among n answers, beside a "
                                 "blind pick, the longest and the best of "
                                 "them, and for every smaller n (expectation over all subsets).",
                                 "1", run);
}

}  // namespace dt2it
