// SPDX-License-Identifier: Apache-2.0
#include "core/report/curation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>
#include <tuple>

#include "core/data/records.hpp"
#include "core/report/agreement.hpp"
#include "core/report/decision_rows.hpp"
#include "core/report/families.hpp"
#include "core/report/known_truth.hpp"
#include "core/report/run_summary.hpp"
#include "core/run/layout.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::report {

namespace {

namespace fs = std::filesystem;
using simdjson::dom::element;

constexpr std::size_t kSamplesOfAKind = 8;
constexpr std::size_t kReasons = 12;  // told apart for one curator
constexpr int kBins = 24;

// "5.5 votes instead of 6" -> "N votes instead of N": one reason, whatever its figures.
std::string without_numbers(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const auto digit = [&](std::size_t at) {
      return at < text.size() && text[at] >= '0' && text[at] <= '9';
    };
    if (!digit(i)) {
      out += text[i++];
      continue;
    }
    while (digit(i) || (i < text.size() && (text[i] == '.' || text[i] == ',') && digit(i + 1))) ++i;
    out += 'N';
  }
  return out.size() > 60 ? out.substr(0, out.find(' ', 50)) + " …" : out;
}

// Reads the decisions of one stage.
class Reader {
 public:
  Reader(const RunSummary& run, const StageSummary& stage, const KnownTruth& truth,
         const Families& families)
      : families_(families) {
    curation_.stage = stage.name;
    curation_.folder = stage.folder;
    read_identity(run, stage);
    if (!truth.empty()) grade_inputs(truth);
  }

  Curation read() {
    for (const std::string& name : curation_.curators) known_step(name);
    DecisionRows rows(curation_.files);
    for_each_line(curation_.folder / layout::kDecisions,
                  [&](std::size_t, const element& line) { take(rows.of(line), line); });
    for (std::size_t row = 0; row < pairs_.size(); ++row)
      if (pairs_[row].source >= 0) finish(pairs_[row]);
    sum_up();
    return std::move(curation_);
  }

 private:
  struct Pair {
    int source = -1;  // -1: no decision so far
    std::size_t node = 0;
    bool flipped = false, settled = false, judged = false;
    Truth truth = Truth::unknown;                         // of the label it came with
    std::vector<std::pair<std::uint16_t, float>> voices;  // towards the label it came with
  };

  // Chain and inputs as the stage's key knows them; else what run.json says of inputs, and curators
  // as they come.
  void read_identity(const RunSummary& run, const StageSummary& stage) {
    simdjson::dom::parser parser;
    element root, params;
    std::vector<std::string> inputs = stage.inputs;
    if (read_json(stage.folder / layout::kStage, parser, root) && !root["params"].get(params)) {
      undecided_ = text_of(params, "undecided");
      curation_.curators = texts(params, "curators");
      const std::vector<std::string> keys = texts(params, "pairs");
      std::vector<std::string> names;
      for (const std::string& key : keys)
        for (const StageSummary& other : run.stages)
          if (other.key == key) {
            names.push_back(other.name);
            break;
          }
      if (!keys.empty() && names.size() == keys.size()) inputs = names;
      element components;
      if (!root["components"].get(components))
        for (const std::string& name : curation_.curators)
          curation_.models[name] = models_of(components, name, 0);
    }
    for (const std::string& name : inputs)
      if (const StageSummary* input = run.stage(name);
          input && fs::exists(input->folder / layout::kPairs)) {
        curation_.inputs.push_back(name);
        curation_.files.push_back(input->folder / layout::kPairs);
      }
  }

  static std::vector<std::string> texts(const element& object, std::string_view key) {
    std::vector<std::string> found;
    simdjson::dom::array list;
    std::string_view text;
    if (!object[key].get(list))
      for (const element item : list)
        if (!item.get(text)) found.emplace_back(text);
    return found;
  }

  // Names of the models that a curator asks: its own, or those of the curator that it lets decide.
  static std::vector<std::string> models_of(const element& components, const std::string& curator,
                                            int depth) {
    element params;
    if (components["curators." + curator]["params"].get(params)) return {};
    std::vector<std::string> names = texts(params, "reward_models");
    if (const std::string one = text_of(params, "reward_model"); names.empty() && !one.empty())
      names = {one};
    const std::string inner = text_of(params, "curator");
    return names.empty() && !inner.empty() && depth < 4 ? models_of(components, inner, depth + 1)
                                                        : names;
  }

  void grade_inputs(const KnownTruth& truth) {
    for (const fs::path& file : curation_.files) {
      PairReader reader(file);
      for (PreferencePair pair; reader.next(pair);) {
        pairs_.emplace_back().truth = truth.of(pair);
        curation_.truth_known |= pairs_.back().truth != Truth::unknown;
      }
    }
  }

  std::size_t known_step(const std::string& curator) {
    const auto [at, fresh] = step_of_.try_emplace(curator, step_of_.size());
    if (fresh && at->second >= curation_.curators.size()) curation_.curators.push_back(curator);
    return at->second;
  }

  int known_source(const std::string& name) {
    const auto [at, fresh] = source_of_.try_emplace(name, static_cast<int>(source_of_.size()));
    if (fresh) {
      names_.push_back(name);
      counts_.emplace_back();
    }
    return at->second;
  }

  std::size_t node(int column, FlowNode::Kind kind, const std::string& label) {
    const auto [at, fresh] = node_of_.try_emplace({column, label}, curation_.flow.nodes.size());
    if (fresh) curation_.flow.nodes.push_back({column, label, kind});
    return at->second;
  }
  void move(Pair& pair, std::size_t to) {
    ++links_[{pair.node, to, pair.source}];
    pair.node = to;
  }

  std::uint16_t voice(const std::string& name, bool judge) {
    const auto [at, fresh] =
        voice_of_.try_emplace(name, static_cast<std::uint16_t>(curation_.voices.size()));
    if (fresh) curation_.voices.push_back({name, judge});
    return at->second;
  }
  void say(Pair& pair, const std::string& name, bool judge, double value) {
    const std::uint16_t who = voice(name, judge);
    for (const auto& [other, unused] : pair.voices)
      if (other == who) return;  // what it said first
    const double towards = pair.flipped ? -value : value;
    pair.voices.emplace_back(who, static_cast<float>(towards));
    if (!judge) margins_[{pair.source, who}].push_back(static_cast<float>(towards));
  }

  void take(std::size_t row, const element& line) {
    if (row >= pairs_.size()) pairs_.resize(row + 1);
    Pair& pair = pairs_[row];
    if (pair.source < 0) {
      const std::string source = text_of(line, "source");
      pair.source = known_source(source);
      pair.node = node(0, FlowNode::Kind::source, source);
      CurationCounts& whole = counts_[static_cast<std::size_t>(pair.source)].whole;
      ++whole.seen;
      whole.found.add(pair.truth);
    }
    const std::string curator = text_of(line, "curator");
    const std::size_t place = known_step(curator);
    auto& steps = counts_[static_cast<std::size_t>(pair.source)].steps;
    if (steps.size() <= place) steps.resize(place + 1);
    CurationCounts& step = steps[place];
    const Truth truth = pair.flipped ? turned(pair.truth) : pair.truth;
    ++step.seen;
    step.found.add(truth);
    hear(pair, curator, line);

    const std::string action = text_of(line, "action");
    const int column = static_cast<int>(place) + 1;
    const bool settles = flag_of(line, "settled", true);
    if (action == "keep") {
      ++step.kept;
      pair.settled = true;
      move(pair, node(column, FlowNode::Kind::kept, "kept"));
      if (line["votes_chosen"].error() == simdjson::SUCCESS)
        sample(row, line, "kept by " + curator, pair.truth);
    } else if (action == "flip") {
      ++(settles ? step.flipped : step.passed_flipped);
      step.flips.add(truth);
      pair.flipped = !pair.flipped;
      pair.settled = settles;
      move(pair, node(column, FlowNode::Kind::flipped, settles ? "flipped" : "flipped, goes on"));
      sample(row, line, "flipped by " + curator, pair.truth);
    } else if (action == "discard") {
      ++step.discarded;
      step.discards.add(truth);
      std::string reason = without_numbers(text_of(line, "reason"));
      if (!step.reasons.contains(reason) && step.reasons.size() >= kReasons)
        reason = "other reasons";
      ++step.reasons[reason];
      CurationCounts& whole = counts_[static_cast<std::size_t>(pair.source)].whole;
      ++whole.discarded;
      ++whole.reasons[curator + ": " + reason];
      whole.discards.add(pair.truth);
      move(pair, node(column, FlowNode::Kind::discarded, "discarded: " + reason));
      sample(row, line, "discarded by " + curator, pair.truth);
      pair.node = kGone;
    } else {
      ++step.open;
      move(pair, node(column, FlowNode::Kind::open, "left open"));
    }
  }

  // Opinions in a decision: votes of models, a model's two rewards, judges' answers.
  void hear(Pair& pair, const std::string& curator, const element& line) {
    const std::vector<std::string>& names = curation_.models[curator];
    simdjson::dom::array list;
    double value = 0, other = 0;
    std::size_t models = 0;
    if (!line["strengths"].get(list))
      for (const element item : list) {
        if (!item.get(value))
          say(pair,
              models < names.size() ? names[models]
                                    : fmt::format("{}, model {}", curator, models + 1),
              false, value);
        ++models;
      }
    if (models != 1 && !line["strength"].get(value)) say(pair, "mean of " + curator, false, value);
    element detail;
    if (line["detail"].get(detail)) return;
    if (!detail["chosen_reward"].get(value) && !detail["rejected_reward"].get(other))
      say(pair, names.size() == 1 ? names[0] : curator + "'s model", false, value - other);
    if (detail["verdicts"].get(list)) return;
    curation_.judged += !pair.judged;
    pair.judged = true;
    curation_.comparisons += static_cast<std::int64_t>(list.size());
    const auto heard = add_comparisons(line, families_, curation_.judges);
    for (const auto& [name, opinion] : heard) say(pair, name, true, opinion);
    double chosen = 0, rejected = 0;
    if (heard.size() > 1 && !line["votes_chosen"].get(chosen) &&
        !line["votes_rejected"].get(rejected) && chosen + rejected > 0)
      say(pair, "all judges", true, (chosen - rejected) / (chosen + rejected));
  }

  // Keeps those of the lowest rank, which depends on the pair alone and not on the order of lines.
  void sample(std::size_t row, const element& line, const std::string& kind, Truth truth) {
    auto& kept = samples_[kind];
    const std::uint64_t rank =
        stable_hash(kind + '\0' + text_of(line, "source") + '\0' + text_of(line, "id"));
    const auto lower = [](const Curation::Sample& a, const Curation::Sample& b) {
      return std::pair(a.rank, a.row) < std::pair(b.rank, b.row);
    };
    kept.push_back({rank, row, kind, truth});
    std::push_heap(kept.begin(), kept.end(), lower);
    if (kept.size() <= kSamplesOfAKind) return;
    std::pop_heap(kept.begin(), kept.end(), lower);
    kept.pop_back();
  }

  // What was said of a pair is counted.
  void hush(Pair& pair) {
    for (std::size_t i = 0; i < pair.voices.size(); ++i)
      for (std::size_t k = i + 1; k < pair.voices.size(); ++k) {
        const bool swapped = pair.voices[i].first > pair.voices[k].first;
        const auto& a = pair.voices[swapped ? k : i];
        const auto& b = pair.voices[swapped ? i : k];
        agreement_[{a.first, b.first}].add(a.second, b.second);
      }
    pair.voices = {};
  }

  // By row, so that sums do not depend on the order of lines.
  void finish(Pair& pair) {
    hush(pair);
    if (pair.node == kGone) return;
    CurationCounts& whole = counts_[static_cast<std::size_t>(pair.source)].whole;
    if (!pair.settled && undecided_ == "discard") {
      ++whole.discarded;
      ++whole.reasons["no curator settled it"];
      whole.discards.add(pair.truth);
      move(pair, node(last_column(), FlowNode::Kind::discarded, "discarded: undecided"));
      return;
    }
    ++(pair.flipped ? whole.flipped : whole.kept);
    if (pair.flipped) whole.flips.add(pair.truth);
    whole.left.add(pair.flipped ? turned(pair.truth) : pair.truth);
    move(pair, node(last_column(), FlowNode::Kind::data, curation_.stage));
  }

  int last_column() const { return static_cast<int>(curation_.curators.size()) + 1; }

  void sum_up() {
    for (std::size_t s = 0; s < names_.size(); ++s) {
      Curation::Source& source = counts_[s];
      source.steps.resize(curation_.curators.size());
      TruthCounts left = source.whole.found;
      for (CurationCounts& step : source.steps) {
        left.right += step.flips.wrong - step.flips.right - step.discards.right;
        left.wrong += step.flips.right - step.flips.wrong - step.discards.wrong;
        left.tie -= step.discards.tie;
        left.unknown -= step.discards.unknown;
        step.left = left;
      }
      curation_.sources[names_[s]] = std::move(source);
    }
    const std::vector<std::size_t> nodes =
        sorted(curation_.flow.nodes, [](const FlowNode& a, const FlowNode& b) {
          return std::tie(a.column, a.kind, a.label) < std::tie(b.column, b.kind, b.label);
        });
    Flow& flow = curation_.flow;
    flow.title = curation_.stage;
    flow.columns = {"entered"};
    flow.columns.insert(flow.columns.end(), curation_.curators.begin(), curation_.curators.end());
    flow.columns.push_back("left");
    for (const auto& [ends, count] : links_) {
      const auto& [from, to, source] = ends;
      flow.links.push_back(
          {nodes[from], nodes[to], names_[static_cast<std::size_t>(source)], count});
    }
    std::sort(flow.links.begin(), flow.links.end(), [](const FlowLink& a, const FlowLink& b) {
      return std::tie(a.from, a.to, a.source) < std::tie(b.from, b.to, b.source);
    });
    draw_strengths();
    const std::vector<std::size_t> voices =
        sorted(curation_.voices, [](const Voice& a, const Voice& b) {
          return std::tie(a.judge, a.name) < std::tie(b.judge, b.name);
        });
    for (const auto& [ends, sum] : agreement_) {
      const auto [first, second] = std::minmax(voices[ends.first], voices[ends.second]);
      curation_.agreements.push_back({first, second, sum.pairs, sum.same, sum.correlation()});
    }
    std::sort(curation_.agreements.begin(), curation_.agreements.end(),
              [](const VoiceAgreement& a, const VoiceAgreement& b) {
                return std::tie(a.first, a.second) < std::tie(b.first, b.second);
              });
    for (auto& [kind, list] : samples_) {
      std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
        return std::pair(a.rank, a.row) < std::pair(b.rank, b.row);
      });
      curation_.samples.insert(curation_.samples.end(), list.begin(), list.end());
    }
  }

  // Sorts, so that the order of lines shows nowhere; says where each went.
  template <class Item, class Less>
  static std::vector<std::size_t> sorted(std::vector<Item>& items, Less less) {
    std::vector<std::size_t> order(items.size()), place(items.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return less(items[a], items[b]); });
    std::vector<Item> result;
    for (std::size_t i = 0; i < order.size(); ++i) {
      place[order[i]] = i;
      result.push_back(std::move(items[order[i]]));
    }
    items = std::move(result);
    return place;
  }

  // The same bins for all models of a source: what 98 % of the margins lie within, rounded up to
  // one figure.
  void draw_strengths() {
    std::map<int, double> limits;
    for (const auto& [who, margins] : margins_) {
      std::vector<float> sizes(margins.size());
      std::transform(margins.begin(), margins.end(), sizes.begin(),
                     [](float margin) { return std::abs(margin); });
      const auto at = sizes.begin() + static_cast<std::ptrdiff_t>(sizes.size() * 98 / 100);
      std::nth_element(sizes.begin(), at, sizes.end());
      limits[who.first] = std::max(limits[who.first], static_cast<double>(*at));
    }
    for (const auto& [who, margins] : margins_) {
      StrengthHistogram one;
      one.source = names_[static_cast<std::size_t>(who.first)];
      one.voice = curation_.voices[who.second].name;
      const double reach = std::max(limits[who.first], 1e-6),
                   unit = std::pow(10, std::floor(std::log10(reach)));
      one.limit = std::ceil(5 * reach / unit - 1e-6) * unit / 5;
      one.bins.assign(kBins, 0);
      for (const float margin : margins) {
        const double at = (margin / one.limit + 1) / 2 * kBins;
        ++one.bins[static_cast<std::size_t>(std::clamp(at, 0.0, kBins - 1.0))];
        ++one.pairs;
        one.negative += margin < 0;
      }
      curation_.strengths.push_back(std::move(one));
    }
    std::sort(curation_.strengths.begin(), curation_.strengths.end(),
              [](const StrengthHistogram& a, const StrengthHistogram& b) {
                return std::tie(a.source, a.voice) < std::tie(b.source, b.voice);
              });
  }

  static constexpr std::size_t kGone = static_cast<std::size_t>(-1);

  const Families& families_;
  Curation curation_;
  std::string undecided_ = "keep";
  std::vector<Pair> pairs_;  // by row
  std::map<std::string, std::size_t> step_of_;
  std::map<std::string, int> source_of_;
  std::vector<std::string> names_;  // of sources
  std::vector<Curation::Source> counts_;
  std::map<std::pair<int, std::string>, std::size_t> node_of_;
  std::map<std::tuple<std::size_t, std::size_t, int>, std::int64_t> links_;
  std::map<std::string, std::uint16_t> voice_of_;
  std::map<std::pair<int, std::uint16_t>, std::vector<float>> margins_;  // source, voice
  std::map<std::pair<std::uint16_t, std::uint16_t>, PairedMoments> agreement_;
  std::map<std::string, std::vector<Curation::Sample>> samples_;  // by kind; heaps
};

}  // namespace

std::vector<Curation> read_curations(const RunSummary& run) {
  std::vector<Curation> curations;
  std::optional<KnownTruth> truth;
  std::optional<Families> families;
  for (const StageSummary& stage : run.stages) {
    if (stage.type != "curate" || !fs::exists(stage.folder / layout::kDecisions)) continue;
    if (!truth) truth.emplace(run), families.emplace(run);
    curations.push_back(Reader(run, stage, *truth, *families).read());
  }
  return curations;
}

}  // namespace dt2it::report
