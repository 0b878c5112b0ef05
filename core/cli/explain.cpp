// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <set>

#include "core/calls/call_store.hpp"
#include "core/cli/verbs.hpp"
#include "core/data/records.hpp"
#include "core/media/media_store.hpp"
#include "core/report/run_summary.hpp"
#include "core/run/layout.hpp"
#include "core/stages/candidate_set.hpp"
#include "dt2it/error.hpp"

namespace dt2it::cli {

namespace po = boost::program_options;
namespace fs = std::filesystem;

namespace {

std::string indented(const std::string& text, const std::string& margin) {
  std::string result = margin;
  for (const char c : text) {
    result += c;
    if (c == '\n') result += margin;
  }
  return result;
}

class Explanation {
 public:
  Explanation(report::RunSummary run, std::string id)
      : run_(std::move(run)),
        id_(std::move(id)),
        runs_(layout::nearest_with(fs::absolute(run_.folder).lexically_normal().parent_path(),
                                   layout::kMedia)) {}

  // False when no stage knows the pair.
  bool print() {
    for (const report::StageSummary& stage : run_.stages) pairs_of(stage);
    if (!found_) return false;
    print_prompt();
    for (const report::StageSummary& stage : run_.stages) candidates_of(stage);
    std::cout << "\nDecisions\n";
    for (const std::string& line : decisions_) std::cout << line;
    if (decisions_.empty())
      std::cout << "  none beside the rules of the stages that it came through\n";
    print_calls();
    return true;
  }

 private:
  void pairs_of(const report::StageSummary& stage) {
    const fs::path file = stage.folder / layout::kPairs;
    if (fs::exists(file)) {
      JsonLineReader lines(file);
      JsonRef line;
      while (lines.next(line)) {
        std::string_view id;
        if (line.element["id"].get(id) || id != id_) continue;
        PreferencePair pair = pair_from(line, lines.where());
        decisions_.push_back(fmt::format(
            "  {} ({}): chosen {}, rejected {}{}\n", stage.name, stage.type, pair.chosen.id,
            pair.rejected.id,
            pair.strength ? fmt::format(", strength {:.6g}", *pair.strength) : std::string()));
        if (!found_) pair_ = std::move(pair);
        found_ = true;
      }
    }
    const fs::path said = stage.folder / layout::kDecisions;
    if (!fs::exists(said)) return;
    JsonLineReader lines(said);
    simdjson::dom::element line;
    while (lines.next(line)) {
      std::string_view id;
      if (!line["id"].get(id) && id == id_)
        decisions_.push_back(fmt::format("  {}: {}\n", stage.name, simdjson::minify(line)));
    }
  }

  std::string file_of(const Media& media) const {
    if (media.id.empty()) return "absent";
    return runs_.empty() ? media.id
                         : (runs_ / layout::kMedia / media.id.substr(0, 2) / media.id).string();
  }

  void print_prompt() {
    std::cout << fmt::format("Pair {} of {}\n  source {}, group {}\n\nPrompt {} ({}, {})\n", id_,
                             run_.label, pair_.source, pair_.group.empty() ? "-" : pair_.group,
                             pair_.prompt.id,
                             pair_.prompt.source.empty() ? "-" : pair_.prompt.source,
                             pair_.prompt.domain.empty() ? "-" : pair_.prompt.domain);
    const auto print = [&](const Prompt& prompt) {
      for (const Message& message : prompt.messages)
        for (const Part& part : message.content)
          if (part.kind == Part::Kind::text)
            std::cout << indented(part.text, "  ") << '\n';
          else
            std::cout << fmt::format("  [{} {} x {}, {}: {}]\n", part.media.mime, part.media.width,
                                     part.media.height, part.media.source, file_of(part.media));
    };
    print(pair_.prompt);
    if (pair_.rejected_prompt) {
      std::cout << "Prompt of the rejected side\n";
      print(*pair_.rejected_prompt);
    }
    if (!pair_.prompt.reference.empty())
      std::cout << "Reference answer\n" << indented(pair_.prompt.reference, "  ") << '\n';
    std::cout << "\nChosen\n"
              << indented(pair_.chosen.text, "  ") << "\nRejected\n"
              << indented(pair_.rejected.text, "  ") << '\n';
    texts_.insert(pair_.chosen.text);
    texts_.insert(pair_.rejected.text);
  }

  // Each stage of candidates adds to those before it: what is new is shown.
  void candidates_of(const report::StageSummary& stage) {
    const fs::path file = stage.folder / layout::kCandidates;
    if (!fs::exists(file) || pair_.source != "distil") return;
    const CandidateFile sets(file);
    std::size_t row = 0;
    try {  // pairs of the distillation are named ROW/PROMPT/CHOSEN-REJECTED
      row = std::stoul(id_);
    } catch (const std::exception&) {
      return;
    }
    if (row >= sets.size()) return;
    const CandidateSet set = sets.read(row);
    if (set.prompt.id != pair_.prompt.id) return;
    std::cout << fmt::format("\nAfter {}\n", stage.name);
    for (std::size_t i = 0; i < set.candidates.size(); ++i) {
      const Response& candidate = set.candidates[i];
      if (!shown_.insert("candidate " + candidate.id).second) continue;
      std::cout << fmt::format("  candidate {} by {} ({}, {}){}{}\n", candidate.id, candidate.mllm,
                               candidate.origin, to_string(candidate.status),
                               candidate.noised_image.present()
                                   ? ", from " + file_of(candidate.noised_image)
                                   : "",
                               candidate.extra.empty() ? "" : ", " + candidate.extra)
                << indented(candidate.text, "      ") << '\n';
      texts_.insert(candidate.text);
    }
    for (const auto& [scorer, scores] : set.scores)
      for (std::size_t i = 0; i < scores.size() && i < set.candidates.size(); ++i) {
        const Score& score = scores[i];
        std::string line = fmt::format("  {} of candidate {}: ", scorer, set.candidates[i].id);
        line += score.ok() ? fmt::format("{:.4g}", score.overall)
                           : fmt::format("{} ({})", to_string(score.status), score.detail);
        for (const Criterion& criterion : score.criteria)
          line += fmt::format("{}{} {:.3g} x {:.3g}",
                              &criterion == &score.criteria.front() ? " = " : ", ", criterion.name,
                              criterion.weight, criterion.score);
        if (shown_.insert(line).second) std::cout << line << '\n';
        if (!score.reply.empty()) texts_.insert(score.reply);
      }
  }

  // Stored answers whose text is one of those above.
  void print_calls() {
    const fs::path file = layout::call_store(runs_);
    std::cout << "\nCalls\n";
    if (runs_.empty() || !fs::exists(file)) {
      std::cout << "  none stored: no remote model answered in this runs folder\n";
      return;
    }
    CallStore store(file);
    std::size_t count = 0;
    store.each({}, [&](const StoredCall& call) {
      if (call.reply.text.empty() || !texts_.contains(call.reply.text)) return;
      ++count;
      std::cout << fmt::format("  {}  {:<12}  {:<24}  {}  {} in, {} out, cost {:.6f}\n",
                               hex_of(call.key).substr(0, 16), call.purpose, call.model,
                               to_string(call.reply.status), call.reply.usage.prompt_tokens,
                               call.reply.usage.completion_tokens, call.cost);
    });
    std::cout << (count ? "  dt2it calls show CALL prints one in full\n"
                        : "  none with these texts\n");
  }

  const report::RunSummary run_;
  const std::string id_;
  const fs::path runs_;  // empty: there is none
  bool found_ = false;
  PreferencePair pair_;
  std::vector<std::string> decisions_;
  std::set<std::string> shown_, texts_;
};

}  // namespace

int explain(const Arguments& arguments) {
  std::vector<std::string> words;
  po::options_description options("options");
  options.add_options()("words", po::value(&words), "pair and run");
  if (!parse(arguments, options, "words",
             "usage: dt2it explain PAIR_ID RUN\n\n"
             "Prints what is behind a pair of a run folder (runs/NAME): prompt and images, "
             "candidates, scores, decisions, stored calls."))
    return 0;
  if (words.size() != 2)
    throw ConfigError(
        "dt2it explain: the id of a pair and a run folder are expected (see dt2it explain --help)");
  if (!Explanation(report::load_run(words[1]), words[0]).print())
    throw DataError(fmt::format("{}: no stage of this run has a pair '{}'", words[1], words[0]));
  return 0;
}

}  // namespace dt2it::cli
