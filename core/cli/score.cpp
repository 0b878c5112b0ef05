// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "core/cli/inputs.hpp"
#include "core/cli/model_options.hpp"
#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/run/scope.hpp"
#include "core/score/score_file.hpp"
#include "core/score/scoring.hpp"
#include "core/util/json.hpp"
#include "core/util/scratch_folder.hpp"
#include "core/util/shard.hpp"
#include "core/util/value_text.hpp"
#include "dt2it/error.hpp"
#include "dt2it/version.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> plugin_path;
  InputOptions input;
  ModelOptions model;
  std::string shard;
  fs::path out;
  bool as_json = false, quiet = false, merge = false;
};

// What does not change rewards, or only by rounding.
bool only_speed(const std::string& name) {
  constexpr std::array kNames{"threads", "encoder_threads", "tokens_per_batch", "batch_size"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

ScoreSettings settings_of(const ComponentConfig& model,
                          const std::vector<ComponentConfig>& datasets, const Shard& shard,
                          const Catalog& catalog) {
  const auto quoted = [](const std::string& text) { return to_json(Value{text}); };
  ScoreSettings settings;
  settings["dt2it"] = quoted(DT2IT_VERSION);
  settings["shard"] = quoted(shard.text());
  const auto add = [&](const std::string& prefix, const ComponentConfig& component) {
    const ComponentDescription* description = catalog.find(component.kind, component.type);
    settings[prefix] = quoted(component.type);
    settings[prefix + ".version"] = quoted(description->version);
    for (const ParamSpec& spec : description->params) {
      const auto value = component.params.find(spec.name);
      if (value == component.params.end() || only_speed(spec.name)) continue;
      settings[prefix + "." + spec.name] = to_json(value->second);
      const auto* path = std::get_if<std::string>(&value->second.data);
      if (spec.path && path && !path->empty() && (spec.argument || fs::is_regular_file(*path)))
        settings[prefix + "." + spec.name + ".content"] = quoted(fingerprint(*path));
    }
  };
  add("model", model);
  for (const ComponentConfig& dataset : datasets) add(dataset.name, dataset);
  return settings;
}

std::string duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{}:{:02} min", s / 60, s % 60);
  return fmt::format("{}:{:02} h", s / 3600, s / 60 % 60);
}

double per_second(std::size_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

// On a terminal a line that is rewritten, otherwise a line every ten seconds.
class Progress {
 public:
  Progress(bool quiet, std::size_t there, std::size_t total)
      : quiet_(quiet), there_(there), total_(total) {}
  ~Progress() { clear(); }
  void show(const ScoringWork& work) {
    const auto now = Clock::now();
    if (quiet_ || now - last_ < (terminal_ ? std::chrono::milliseconds(250)
                                           : std::chrono::milliseconds(10000)))
      return;
    last_ = now;
    const std::size_t done = there_ + work.records;
    std::string text = total_ ? fmt::format("{} of about {} ({} %)", done, total_,
                                            std::min<std::size_t>(100, 100 * done / total_))
                              : fmt::format("{}", done);
    const double rate = per_second(work.records, work.seconds);
    text += fmt::format(", {:.{}f} {}/s", rate, rate < 10 ? 2 : 0,
                        work.pairs == work.records ? "pairs" : "records");
    if (work.work.tokens > 0)
      text += fmt::format(", {:.0f} tokens/s", per_second(work.work.tokens, work.seconds));
    if (total_ > done && rate > 0)
      text += ", " + duration(static_cast<double>(total_ - done) / rate) + " left";
    std::cerr << (terminal_ ? "\r\033[K" : "") << text << (terminal_ ? "" : "\n") << std::flush;
    drawn_ = terminal_;
  }
  void clear() {
    if (drawn_) std::cerr << "\r\033[K" << std::flush;
    drawn_ = false;
  }

 private:
  const bool quiet_, terminal_ = isatty(STDERR_FILENO) != 0;
  const std::size_t there_, total_;
  Clock::time_point last_ = Clock::now();
  bool drawn_ = false;
};

struct Summary {
  ScoreTotals totals;
  ScoringWork work;         // of this run
  std::size_t resumed = 0;  // records that were there
  double load_seconds = 0;
  fs::path out;
};

std::string summary_text(const Summary& summary) {
  const ScoreTotals& totals = summary.totals;
  std::string text = fmt::format("{} records", totals.records);
  if (totals.pairs) text += fmt::format(", {} pairs", totals.pairs);
  if (totals.candidate_sets)
    text += fmt::format(", {} with several candidates", totals.candidate_sets);
  if (totals.singles) text += fmt::format(", {} with one answer", totals.singles);
  if (summary.resumed) text += fmt::format("; {} of them were there", summary.resumed);
  text += '\n';
  if (totals.failed()) {
    text += "without rewards:";
    for (const auto& [status, count] : totals.statuses)
      if (status != Status::ok) text += fmt::format(" {} {}", count, to_string(status));
    text += '\n';
  }
  if (totals.scored_pairs)
    text += fmt::format("chosen > rejected: {:.2f} % ({} of {}), ties: {}, mean margin: {:.6g}\n",
                        100 * totals.accuracy(), totals.correct, totals.scored_pairs, totals.ties,
                        totals.mean_margin());
  const ScoringWork& work = summary.work;
  if (work.records) {
    text += fmt::format("{:.3g} {}/s", per_second(work.records, work.seconds),
                        work.pairs == work.records ? "pairs" : "records");
    if (work.work.tokens)
      text += fmt::format(", {:.0f} tokens/s", per_second(work.work.tokens, work.seconds));
    text += fmt::format(" in {:.1f} s, after {:.1f} s of loading\n", work.seconds,
                        summary.load_seconds);
  }
  if (!summary.out.empty()) text += summary.out.string() + '\n';
  return text;
}

std::string summary_json(const Summary& summary) {
  const ScoreTotals& totals = summary.totals;
  const ScoringWork& work = summary.work;
  JsonWriter json;
  json.begin_object();
  json.key("records").value(totals.records).key("pairs").value(totals.pairs);
  json.key("candidate_sets").value(totals.candidate_sets).key("singles").value(totals.singles);
  json.key("statuses").begin_object();
  for (const auto& [status, count] : totals.statuses) json.key(to_string(status)).value(count);
  json.end_object();
  json.key("scored_pairs").value(totals.scored_pairs).key("correct").value(totals.correct);
  json.key("accuracy")
      .value(totals.accuracy())
      .key("ties")
      .value(totals.ties)
      .key("mean_margin")
      .value(totals.mean_margin());
  json.key("resumed").value(summary.resumed).key("load_seconds").value(summary.load_seconds);
  json.key("seconds").value(work.seconds);
  json.key("records_per_second").value(per_second(work.records, work.seconds));
  json.key("pairs_per_second").value(per_second(work.pairs, work.seconds));
  json.key("tokens").value(static_cast<std::int64_t>(work.work.tokens));
  json.key("tokens_per_second").value(per_second(work.work.tokens, work.seconds));
  json.key("cut").value(static_cast<std::int64_t>(work.work.cut));
  json.key("out").value(summary.out.string());
  return json.end_object().text() + '\n';
}

void print(const Options& options, const Summary& summary) {
  // Rewards went to standard output where there is no file.
  std::ostream& out = options.out.empty() ? std::cerr : std::cout;
  out << (options.as_json ? summary_json(summary) : summary_text(summary)) << std::flush;
}

// Media pass through a folder of their own that is gone afterwards.
int score_records(const Options& options, const std::string& command) {
  CommonOptions common;
  common.plugin_path = options.plugin_path;
  Installation installation(common);
  PluginRegistry& registry = installation.registry;
  ComponentConfig model_config = reward_model_of(options.model, registry);
  const std::vector<ComponentConfig> datasets = input_datasets(options.input, registry, "input");
  const Shard shard = options.shard.empty() ? Shard::from_environment([](const char* name) {
                                                return std::getenv(name);
                                              }).value_or(Shard{})
                                            : Shard::parse(options.shard);

  Summary summary;
  std::unique_ptr<ScoreFile> file;
  std::size_t batch_size = 1;
  if (const auto value = model_config.params.find("batch_size"); value != model_config.params.end())
    if (const auto* number = std::get_if<std::int64_t>(&value->second.data))
      batch_size = static_cast<std::size_t>(*number);
  if (!options.out.empty()) {
    summary.out = shard.file(options.out);
    file = std::make_unique<ScoreFile>(
        summary.out, settings_of(model_config, datasets, shard, registry),
        [&](std::size_t row) { return shard.has(row); }, batch_size);
    summary.totals = file->totals();
    summary.resumed = summary.totals.records;
    if (file->complete()) {
      std::cerr << summary.out.string() << ": is complete already\n";
      print(options, summary);
      return 0;
    }
    if (summary.resumed) std::cerr << fmt::format("going on after {} records\n", summary.resumed);
  }

  std::vector<ComponentConfig> components = datasets;
  components.push_back(model_config);
  const ScratchFolder scratch("score");
  InputMedia input_media(options.input, registry, scratch.path());
  PassingMediaStore& media = input_media.store();
  StageScope scope(registry, components, media, 0, scratch.path(),
                   [](LogLevel level, std::string_view message) {
                     if (level >= LogLevel::warning) std::cerr << message << '\n';
                   });
  const auto start = Clock::now();
  const auto model = scope.context().component<RewardModel>("model");
  summary.load_seconds = std::chrono::duration<double>(Clock::now() - start).count();
  std::vector<std::shared_ptr<Dataset>> inputs;
  std::size_t total = 0;
  for (const ComponentConfig& dataset : datasets) {
    inputs.push_back(scope.context().component<Dataset>(dataset.name));
    if (!options.quiet) total += inputs.back()->count_answers();
  }

  Progress progress(options.quiet, summary.resumed, total / shard.count);
  const auto missing = file ? file->missing() : [](std::size_t) { return true; };
  JoinedAnswers records(inputs, [&](std::size_t row) { return shard.has(row) && missing(row); });
  Scoring scoring;
  scoring.rows_there = file ? file->next_row() : 0;
  scoring.stop = &catch_interrupts();
  scoring.progress = [&](const ScoringWork& work) { progress.show(work); };
  scoring.write = [&](std::span<const ScoreLine> lines) {
    if (file) return file->append(lines);
    for (const ScoreLine& line : lines) {
      summary.totals.add(line);
      std::cout << to_json(line) << '\n';
    }
    std::cout << std::flush;
  };
  scoring.done = [&](const AnswerRecord& record) {
    for (const Prompt* prompt :
         {&record.prompt, record.rejected_prompt ? &*record.rejected_prompt : nullptr})
      if (prompt)
        for (const Message& message : prompt->messages)
          for (const Part& part : message.content)
            if (part.kind != Part::Kind::text) media.release(part.media);
  };
  summary.work = score_answers(records, *model, scoring);
  progress.clear();
  if (*scoring.stop) {
    if (file) std::cerr << "stopped; what is done is saved. Go on with:\n  " << command << '\n';
    throw Interrupted();
  }
  if (file) {
    file->finish();
    summary.totals = file->totals();
  }
  if (summary.totals.records == 0 && shard.count == 1)
    throw DataError("there are no records in " + options.input.inputs.front());
  print(options, summary);
  return 0;
}

}  // namespace

int score(const Arguments& arguments) {
  Options options;
  po::options_description words("options");
  add_model_options(words, options.model);
  words.add_options()("inputs", po::value(&options.input.inputs),
                      "files or folders of records (with --merge: files of scores)")(
      "out,o", po::value(&options.out)->value_name("FILE"),
      "where rewards go, a line a record; taken up where it ends when it is there (default: "
      "standard output)")("shard", po::value(&options.shard)->value_name("I/N"),
                          "only the I-th of N parts, into NAME.I-of-N.jsonl (default: RANK and "
                          "WORLD_SIZE, else SLURM_PROCID and SLURM_NTASKS)")(
      "merge", po::bool_switch(&options.merge),
      "put the files of all shards together: dt2it score --merge -o FILE SHARD...")(
      "json", po::bool_switch(&options.as_json), "print the summary as JSON")(
      "quiet,q", po::bool_switch(&options.quiet), "no progress")(
      "plugin-path", po::value(&options.plugin_path)->composing()->value_name("DIR"),
      "look for plugins here first; may be given often");
  add_input_options(words, options.input);
  if (!parse(arguments, words, "inputs",
             "usage: dt2it score --model KIND[:ARG] INPUT... [-o FILE] [options]\n"
             "       dt2it score --merge -o FILE SHARD...\n\n"
             "Gives the answers in a file their rewards: pairs (chosen, rejected), several "
             "candidates, or single ones. What "
             "cannot be scored gets a status on its line."))
    return 0;
  if (options.input.inputs.empty()) throw ConfigError("dt2it score: no input given");
  if (!options.out.empty() && (!options.out.has_filename() || fs::is_directory(options.out)))
    throw ConfigError(options.out.string() + ": is a folder (a file is expected for --out)");
  if (options.merge) {
    if (options.out.empty()) throw ConfigError("dt2it score --merge: where to? (-o FILE)");
    Summary summary;
    summary.out = options.out;
    summary.totals = merge_scores(options.out, std::vector<fs::path>(options.input.inputs.begin(),
                                                                     options.input.inputs.end()));
    print(options, summary);
    return 0;
  }
  return score_records(options, command_line("score", arguments));
}

}  // namespace dt2it::cli
