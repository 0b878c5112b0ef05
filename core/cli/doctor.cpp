// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iostream>
#include <map>

#include "core/cli/inputs.hpp"
#include "core/cli/system_check.hpp"
#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/run/scope.hpp"
#include "core/score/checkpoint_facts.hpp"
#include "core/score/head_probe.hpp"
#include "core/score/scoring.hpp"
#include "core/util/json.hpp"
#include "core/util/scratch_folder.hpp"
#include "core/util/workers.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

struct Options {
  std::vector<std::string> plugin_path, settings;
  std::string model, pairs;
  InputOptions input;
  std::string dtype, device;
  int threads = 0;
  std::size_t limit = 200;
  bool as_json = false, no_probe = false;
  SystemOptions system;
};

// Prints what was found; 1 when something is missing.
int system_report(const Options& options) {
  SystemOptions system = options.system;
  system.plugin_path = options.plugin_path;
  constexpr std::array kStates{"good", "note", "missing"};
  bool missing = false;
  JsonWriter json;
  json.begin_array();
  for (const Finding& finding : check_system(system)) {
    const char* state = kStates[static_cast<std::size_t>(finding.state)];
    missing |= finding.state == Finding::State::missing;
    json.begin_object()
        .key("state")
        .value(state)
        .key("what")
        .value(finding.what)
        .key("detail")
        .value(finding.detail)
        .end_object();
    if (!options.as_json)
      std::cout << fmt::format("{:<8} {:<13} {}\n", state, finding.what, finding.detail);
  }
  if (options.as_json) std::cout << json.end_array().text() << '\n';
  return missing ? 1 : 0;
}

// How many records have no rewards, and why.
using Failures = std::map<Status, std::size_t>;

std::string failures_text(const Failures& failures) {
  std::string text;
  for (const auto& [status, count] : failures)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, to_string(status));
  return text;
}

// The pairs of a file that have not failed, at most `limit`; they hold their media until the end.
class FirstPairs final : public Stream<AnswerRecord> {
 public:
  FirstPairs(std::unique_ptr<Stream<AnswerRecord>> records, std::size_t limit, Failures& failures)
      : records_(std::move(records)), left_(limit), failures_(failures) {}
  bool next(AnswerRecord& record) override {
    while (left_ > 0 && records_->next(record)) {
      if (record.status != Status::ok)
        ++failures_[record.status];
      else if (record.pair)
        return --left_, true;
    }
    return false;
  }

 private:
  std::unique_ptr<Stream<AnswerRecord>> records_;
  std::size_t left_;
  Failures& failures_;
};

class GivenRecords final : public Stream<AnswerRecord> {
 public:
  explicit GivenRecords(std::vector<AnswerRecord> records) : records_(std::move(records)) {}
  bool next(AnswerRecord& record) override {
    if (at_ == records_.size()) return false;
    record = records_[at_++];
    return true;
  }

 private:
  const std::vector<AnswerRecord> records_;
  std::size_t at_ = 0;
};

struct Probe {
  HeadReading final_norm, before_norm;
  HeadVerdict verdict;
  Failures failures;
  std::size_t failed() const {
    std::size_t count = 0;
    for (const auto& [status, failed] : failures) count += failed;
    return count;
  }
};

std::string no_pairs_text(const Options& options, const Failures& failures) {
  const std::string file = options.pairs.empty() ? "the built-in pairs" : options.pairs;
  if (failures.empty()) return file + ": has no preference pairs";
  std::string text = fmt::format("{}: no pair has rewards ({})", file, failures_text(failures));
  if (failures.contains(Status::missing_media))
    text += fmt::format(
        "; media that records name by id are looked for in {} (--media-store DIR){}, paths of "
        "images from {} (--media-root DIR)",
        options.input.media_store.string(),
        fs::is_directory(options.input.media_store) ? "" : ", which is not there",
        options.input.media_root.empty() ? "the file's folder" : options.input.media_root.string());
  return text;
}

// One model in memory, read both ways.
Probe probe(const Options& options, PluginRegistry& registry, const CheckpointFacts& facts) {
  std::vector<std::string> settings{text_setting("checkpoint", options.model)};
  if (!options.dtype.empty()) settings.push_back(text_setting("dtype", options.dtype));
  if (!options.device.empty()) settings.push_back(text_setting("device", options.device));
  settings.insert(settings.end(), options.settings.begin(), options.settings.end());
  std::vector<ComponentConfig> components{
      component_of(registry, "backbones", "model", facts.model_type, settings)};
  for (const char* input : {"final_norm", "before_norm"})
    components.push_back(component_of(
        registry, RewardModel::kKind, input, "mrm",
        {text_setting("checkpoint", options.model), text_setting("backbone", "model"),
         text_setting("head_input", input),
         fmt::format("threads={}", options.threads ? static_cast<unsigned>(options.threads)
                                                   : hardware_threads())}));
  if (!options.pairs.empty()) {
    InputOptions input = options.input;
    input.inputs = {options.pairs};
    components.push_back(input_datasets(input, registry, "pairs").front());
  }

  const ScratchFolder scratch("doctor");
  InputMedia input_media(options.input, registry, scratch.path());
  PassingMediaStore& media = input_media.store();
  StageScope scope(registry, components, media, 0, scratch.path(),
                   [](LogLevel level, std::string_view message) {
                     if (level >= LogLevel::warning) std::cerr << message << '\n';
                   });
  Probe result;
  std::vector<std::vector<ScoreLine>> lines(2);
  for (const std::size_t reading : {0, 1}) {
    result.failures.clear();  // of what both read the same way
    std::unique_ptr<Stream<AnswerRecord>> records;
    if (options.pairs.empty())
      records = std::make_unique<GivenRecords>(probe_pairs());
    else
      records =
          std::make_unique<FirstPairs>(scope.context().component<Dataset>("pairs_1")->answers({}),
                                       options.limit, result.failures);
    Scoring scoring;
    scoring.write = [&](std::span<const ScoreLine> some) {
      lines[reading].insert(lines[reading].end(), some.begin(), some.end());
    };
    score_answers(
        *records,
        *scope.context().component<RewardModel>(reading == 0 ? "final_norm" : "before_norm"),
        scoring);
  }
  std::vector<ProbeRewards> final_norm, before_norm;
  for (std::size_t i = 0; i < lines[0].size(); ++i) {
    const auto failed = std::find_if(lines.begin(), lines.end(), [i](const auto& reading) {
      return reading[i].status != Status::ok;
    });
    if (failed != lines.end()) {
      ++result.failures[(*failed)[i].status];
      continue;
    }
    final_norm.push_back({lines[0][i].rewards[0].value, lines[0][i].rewards[1].value});
    before_norm.push_back({lines[1][i].rewards[0].value, lines[1][i].rewards[1].value});
  }
  if (final_norm.empty()) throw DataError(no_pairs_text(options, result.failures));
  result.final_norm = read_rewards(final_norm);
  result.before_norm = read_rewards(before_norm);
  result.verdict = judge_readings(final_norm, before_norm, facts.head_input_odds(),
                                  head_input_named(facts.head_input));
  return result;
}

std::string reading_text(const char* name, const HeadReading& reading) {
  return fmt::format(
      "  {:<12} {:>5.1f} % right  margins {:<10.4g} rewards {:.4g} +- {:.4g}{}\n", name,
      100.0 * static_cast<double>(reading.correct) /
          static_cast<double>(std::max<std::size_t>(1, reading.pairs)),
      reading.spread, reading.mean, reading.deviation,
      reading.saturated > 0 ? fmt::format("  {:.0f} % saturated", 100 * reading.saturated) : "");
}

std::string probe_text(const Options& options, const Probe& probe) {
  const HeadVerdict& verdict = probe.verdict;
  std::string text =
      fmt::format("\nThe head on {} pairs ({})\n", verdict.pairs,
                  options.pairs.empty() ? "built in, without pictures" : options.pairs);
  if (probe.failed())
    text += fmt::format("  {} more have no rewards ({})\n", probe.failed(),
                        failures_text(probe.failures));
  text +=
      reading_text("final_norm", probe.final_norm) + reading_text("before_norm", probe.before_norm);
  text += fmt::format(
      "  both order {} of {} alike; log-odds for final_norm {:+.1f} (order {:+.1f}{}, spread "
      "{:+.1f}, offset {:+.1f}{}, made with {:+.1f})\n",
      verdict.same_order, verdict.pairs, verdict.log_odds, verdict.order,
      verdict.order_counts ? "" : " not counted", verdict.spread, verdict.offset,
      verdict.scale_counts ? "" : ", both not counted", verdict.maker);
  return text + "head_input: " + verdict_text(verdict) + '\n';
}

void write_reading(JsonWriter& json, const HeadReading& reading) {
  json.begin_object();
  json.key("pairs")
      .value(reading.pairs)
      .key("correct")
      .value(reading.correct)
      .key("ties")
      .value(reading.ties);
  json.key("mean").value(reading.mean).key("deviation").value(reading.deviation);
  json.key("spread").value(reading.spread).key("saturated").value(reading.saturated);
  json.end_object();
}

void write_probe(JsonWriter& json, const Probe& probe) {
  const HeadVerdict& verdict = probe.verdict;
  json.begin_object();
  json.key("head_input").value(to_string(verdict.input)).key("sure").value(verdict.sure);
  json.key("stated")
      .value(to_string(verdict.stated))
      .key("likely")
      .value(to_string(verdict.likely));
  json.key("disagrees").value(verdict.disagrees);
  json.key("log_odds")
      .value(verdict.log_odds)
      .key("order")
      .value(verdict.order)
      .key("spread")
      .value(verdict.spread);
  json.key("offset").value(verdict.offset).key("maker").value(verdict.maker);
  json.key("same_order").value(verdict.same_order).key("failed").value(probe.failed());
  write_reading(json.key("final_norm"), probe.final_norm);
  write_reading(json.key("before_norm"), probe.before_norm);
  json.end_object();
}

}  // namespace

int doctor(const Arguments& arguments) {
  Options options;
  po::options_description words("options");
  words.add_options()("model", po::value(&options.model), "the checkpoint's folder")(
      "pairs", po::value(&options.pairs)->value_name("FILE"),
      "pairs whose better answer is known, in any form that dt2it score reads (default: a few "
      "built-in ones)")("limit", po::value(&options.limit)->value_name("N"),
                        "read at most N pairs (default: 200)")(
      "dtype", po::value(&options.dtype)->value_name("TYPE"), "float32, bfloat16, checkpoint")(
      "device", po::value(&options.device)->value_name("DEVICE"), "cpu, cuda, cuda:N, auto")(
      "threads", po::value(&options.threads)->value_name("N"),
      "threads for the computation (default: the cores)")(
      "set", po::value(&options.settings)->composing()->value_name("KEY=VALUE"),
      "a parameter of the backbone")(
      "endpoint", po::value(&options.system.endpoints)->composing()->value_name("URL"),
      "without MODEL: try to reach this address; may be given often")(
      "runs", po::value(&options.system.runs)->value_name("DIR"),
      "without MODEL: folder whose disk is looked at (default: runs)")(
      "no-probe", po::bool_switch(&options.no_probe),
      "look at the files only, do not load the model")("json", po::bool_switch(&options.as_json),
                                                       "print JSON")(
      "plugin-path", po::value(&options.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  add_input_options(words, options.input);
  if (!parse(arguments, words, "model",
             "usage: dt2it doctor [--endpoint URL] [options]\n       dt2it doctor MODEL [--pairs "
             "FILE] [options]\n\n"
             "Without MODEL: what this machine and installation have and lack; exit code 1 when "
             "something is missing. With it: says what a checkpoint folder is, and, by the rewards "
             "of a "
             "few pairs, whether its head reads the hidden state before or after the final norm."))
    return 0;
  if (options.model.empty()) return system_report(options);
  CommonOptions common;
  common.plugin_path = options.plugin_path;
  const CheckpointFacts facts(options.model);
  if (!options.as_json) std::cout << facts.text() << std::flush;
  JsonWriter json;
  json.begin_object();
  json.key("checkpoint").raw(facts.json());
  if (!options.no_probe && facts.has_head()) {
    Installation installation(common);
    const Probe result = probe(options, installation.registry, facts);
    if (!options.as_json) std::cout << probe_text(options, result);
    write_probe(json.key("probe"), result);
  }
  json.end_object();
  if (options.as_json) std::cout << json.text() << '\n';
  return 0;
}

}  // namespace dt2it::cli
