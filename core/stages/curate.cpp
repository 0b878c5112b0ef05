// SPDX-License-Identifier: Apache-2.0
// Curates preference pairs by a chain of curators (paper section 3.3): each source by itself; the
// host applies what they decide. Pairs pass by in windows and are never all in memory; what the
// curators have made of each so far is.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/data/pair_marks.hpp"
#include "core/data/records.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/pair_windows.hpp"
#include "core/stages/stages.hpp"
#include "core/util/file_writer.hpp"
#include "core/util/journal.hpp"
#include "core/util/json.hpp"
#include "core/util/jsonl.hpp"
#include "core/util/progress.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;

struct CurateParams {
  std::vector<std::string> pairs;
  std::vector<std::string> curators;
  std::string undecided = "keep";

  static void describe(Schema<CurateParams>& schema) {
    schema.component<StageInputs>("pairs", &CurateParams::pairs, "Stages whose pairs are curated.")
        .required();
    schema
        .component<Curator>("curators", &CurateParams::curators,
                            "Curators in their order; each sees what those before it left open.")
        .required();
    schema
        .field("undecided", &CurateParams::undecided,
               "What becomes of pairs that no curator settles.")
        .choices({"keep", "discard"});
  }
};

// Pairs are read, reviewed and put on record by so many. What was paid for in a window is found in
// the store of calls, should the process die within it.
constexpr std::size_t kWindow = 512;

void swap_labels(PreferencePair& pair) {
  std::swap(pair.chosen, pair.rejected);
  if (pair.rejected_prompt) std::swap(pair.prompt, *pair.rejected_prompt);
}

// Does what a decision says to a pair, or to what is remembered of one.
template <class Pair>
void apply(const Decision& decision, Pair& pair, const auto& swap) {
  if (decision.strength) {
    pair.strength = decision.strength;
    pair.strengths = decision.strengths;
  }
  if (decision.action != Decision::Action::flip) return;
  swap(pair);
  if (pair.strength) pair.strength = -*pair.strength;
  for (double& one : pair.strengths) one = -one;
}

// What has become of a pair.
struct State {
  bool settled = false;
  bool discarded = false;
  bool flipped = false;            // against the data
  std::optional<double> strength;  // none: as in the data
  std::vector<double> strengths;

  void take(const Decision& decision) {
    apply(decision, *this, [](State& state) { state.flipped = !state.flipped; });
    discarded = decision.action == Decision::Action::discard;
    settled = discarded || decision.action == Decision::Action::keep ||
              (decision.action == Decision::Action::flip && decision.settled);
  }

  // The pair of the data as it stands.
  void show_on(PreferencePair& pair) const {
    if (flipped) {
      swap_labels(pair);
      if (pair.strength) pair.strength = -*pair.strength;
      for (double& one : pair.strengths) one = -one;
    }
    if (strength) {
      pair.strength = strength;
      pair.strengths = strengths;
    }
  }
};

void add_decision(JsonWriter& json, std::size_t row, const std::string& curator,
                  const PreferencePair& pair, const Decision& decision) {
  json.begin_object();
  json.key("id").value(pair.id).key("source").value(pair.source).key("curator").value(curator);
  json.key("action").value(to_string(decision.action)).key("settled").value(decision.settled);
  json.key("reason").value(decision.reason);
  if (decision.strength) json.key("strength").value(*decision.strength);
  if (!decision.strengths.empty()) {
    json.key("strengths").begin_array();
    for (const double strength : decision.strengths) json.value(strength);
    json.end_array();
  }
  if (decision.votes_chosen) json.key("votes_chosen").value(*decision.votes_chosen);
  if (decision.votes_rejected) json.key("votes_rejected").value(*decision.votes_rejected);
  if (decision.votes_chosen || decision.votes_rejected) {  // what may sway those who vote
    json.key("responses").begin_object();
    for (const auto& [side, response] :
         {std::pair("chosen", &pair.chosen), std::pair("rejected", &pair.rejected)})
      json.key(side)
          .begin_object()
          .key("mllm")
          .value(response->mllm)
          .key("length")
          .value(response->text.size())
          .end_object();
    json.end_object();
  }
  if (!decision.detail.empty()) json.key("detail").raw(decision.detail);
  json.key("row").value(row);
  json.end_object().raw("\n");
}

// decisions.jsonl as it grows in the work folder, and how many windows of it are whole.
class DecisionLog {
 public:
  struct Entry {
    std::size_t row = 0;
    std::string curator;
    Decision decision;  // without texts
  };

  explicit DecisionLog(const fs::path& work) : file_(work / "decisions.jsonl") {
    const fs::path ends = work / "windows.journal";
    ends_.emplace(ends);
    while (ends_->contains(done_)) ++done_;
    std::error_code error;
    const std::uint64_t there = fs::exists(file_) ? fs::file_size(file_) : 0;
    if (done_) end_ = std::stoull(ends_->read(done_ - 1));
    if (there < end_) {  // power failed between the two files; what judges answered is in the store
                         // of calls
      spdlog::warn("{}: is shorter than it was; the decisions are made anew", file_.string());
      ends_.reset();
      fs::remove(ends);
      ends_.emplace(ends);
      done_ = end_ = 0;
    }
    if (there > end_) fs::resize_file(file_, end_, error);
    if (error) throw Error(fmt::format("{}: cannot be cut: {}", file_.string(), error.message()));
    if (done_) old_.emplace(file_);
    out_.emplace(file_, FileWriter::Begin::behind_what_is_there);
  }

  // Windows are numbered through all passes.
  bool has(std::size_t window) const { return window < done_; }

  // Of a window that is there; they are asked for in order.
  std::vector<Entry> read(std::size_t window) {
    const std::uint64_t end = std::stoull(ends_->read(window));
    std::vector<Entry> entries;
    JsonParser parser;
    for (std::string_view line; read_ < end && old_->next(line);) {
      read_ += line.size() + 1;
      const std::string where = old_->where();
      const JsonRef json = parser.parse(line, where);
      Entry& entry = entries.emplace_back();
      std::string_view text;
      std::uint64_t row = 0;
      double number = 0;
      if (json.element["curator"].get(text) || json.element["row"].get(row) ||
          json.element["settled"].get(entry.decision.settled))
        throw DataError(where + ": is no decision; remove the folder to begin the stage anew");
      entry.curator = text;
      entry.row = row;
      text = json.element["action"].get_string().value_unsafe();
      for (const auto action : {Decision::Action::keep, Decision::Action::flip,
                                Decision::Action::discard, Decision::Action::undecided})
        if (text == to_string(action)) entry.decision.action = action;
      if (!json.element["strength"].get(number)) entry.decision.strength = number;
      simdjson::dom::array list;
      if (!json.element["strengths"].get(list))
        for (const auto one : list)
          entry.decision.strengths.push_back(one.get_double().value_unsafe());
    }
    return entries;
  }

  void append(std::size_t window, std::string_view lines) {
    out_->write(lines);
    end_ += lines.size();
    ends_->append(window, std::to_string(end_));
  }

  // The file stays in the work folder too, for the process may die before the stage is finished.
  void put_into(const fs::path& target) {
    out_->close();
    std::error_code no_links;
    fs::create_hard_link(file_, target, no_links);
    if (no_links) fs::copy_file(file_, target);
  }

 private:
  const fs::path file_;
  std::optional<Journal> ends_;  // window -> where its lines end
  std::size_t done_ = 0;
  std::uint64_t end_ = 0, read_ = 0;
  std::optional<FileWriter> out_;
  std::optional<LineReader> old_;
};

class Curation {
 public:
  Curation(const CurateParams& params, StageRun& stage)
      : params_(params),
        stage_(stage),
        paths_(pair_files(stage, params.pairs)),
        files_(paths_),
        states_(files_.count()),
        marks_(files_.count()),
        log_(stage.work),
        counts_(params.curators.size()) {
    for (const std::string& name : params.curators)
      curators_.push_back(stage.context().component<Curator>(name));
    stage.progress->set_total(files_.count() * curators_.size());
  }

  // Curators that see one part of a source at a time work in one pass. One that surveys begins a
  // new pass, for it has to know what those before it settled.
  void run() {
    for (std::size_t begin = 0; begin < curators_.size();) {
      std::size_t end = begin + 1;
      while (end < curators_.size() && !surveying(end)) ++end;
      if (surveying(begin)) survey(begin);
      pass(begin, end);
      surveys_.clear();
      begin = end;
    }
    write_pairs();
    log_.put_into(stage_.output / "decisions.jsonl");
  }

 private:
  SurveyingCurator* surveying(std::size_t curator) const {
    return dynamic_cast<SurveyingCurator*>(curators_[curator].get());
  }

  // Open pairs of a window and one source, as they stand.
  struct Group {
    std::vector<std::size_t> rows;
    std::vector<PreferencePair> pairs;
  };
  // All open pairs of a window.
  struct Open {
    std::size_t size = 0;  // of the window
    std::map<std::string, Group> groups;
    PreferencePair pair;  // scratch
    JsonWriter json;
  };
  using Windows = PairWindows<Open>;

  // Called in several threads: a window's states are another's business only once that was handed
  // over.
  Windows windows() {
    return Windows(
        paths_, kWindow,
        [this, first_pass = std::exchange(marked_, true) == false](PairLines& lines, Open& open) {
          open.size = lines.size();
          open.json = JsonWriter();
          for (auto& [source, group] : open.groups) {
            group.rows.clear();
            group.pairs.clear();
          }
          for (std::size_t i = 0; i < lines.size(); ++i) {
            const std::size_t row = lines.first() + i;
            const State& state = states_.at(row);
            if (state.settled) continue;
            lines.read(i, open.pair);
            if (first_pass) marks_[row] = marks_of(lines.line(i), open.pair, open.json);
            state.show_on(open.pair);
            Group& group = open.groups[open.pair.source];
            group.rows.push_back(row);
            group.pairs.push_back(std::move(open.pair));
          }
          std::erase_if(open.groups, [](const auto& group) { return group.second.rows.empty(); });
        });
  }

  void survey(std::size_t curator) {
    SurveyingCurator& asked = *surveying(curator);
    for (bool again = true; again;) {
      Open open;
      for (Windows all = windows(); all.next(open);) {
        stage_.check_stop();
        for (const auto& [source, group] : open.groups) {
          auto& survey = surveys_[source];
          if (!survey) survey = asked.survey(source);
          survey->add(group.pairs);
        }
      }
      again = false;
      for (const auto& [source, survey] : surveys_) again |= survey->again();
    }
  }

  void pass(std::size_t begin, std::size_t end) {
    std::map<std::string, std::size_t>
        seen;  // by source: pairs that the survey's decisions were asked for
    Open open;
    for (Windows all = windows(); all.next(open); ++window_) {
      stage_.check_stop();
      auto& groups = open.groups;
      if (log_.has(window_)) {
        for (const auto& [source, group] : groups) seen[source] += group.rows.size();
        for (const DecisionLog::Entry& entry : log_.read(window_))
          take(entry.row, position(entry.curator), entry.decision);
      } else {
        lines_ = JsonWriter();
        for (std::size_t curator = begin; curator < end; ++curator)
          for (auto& [source, group] : groups) {
            if (group.rows.empty()) continue;
            const bool surveyed = curator == begin && !surveys_.empty();
            const std::vector<Decision> decisions =
                surveyed ? surveys_.at(source)->decide(group.pairs, seen[source])
                         : curators_[curator]->review(group.pairs);
            seen[source] += surveyed ? group.rows.size() : 0;
            if (decisions.size() != group.rows.size())
              throw PluginError(fmt::format("curator '{}' gave {} decisions for {} pairs",
                                            params_.curators[curator], decisions.size(),
                                            group.rows.size()));
            settle(curator, group, decisions);
          }
        log_.append(window_, lines_.text());
      }
      stage_.progress->add(open.size * (end - begin));
    }
  }

  // Puts decisions on record, and leaves the pairs that are still open.
  void settle(std::size_t curator, Group& group, const std::vector<Decision>& decisions) {
    std::size_t open = 0;
    for (std::size_t i = 0; i < decisions.size(); ++i) {
      const std::size_t row = group.rows[i];
      add_decision(lines_, row, params_.curators[curator], group.pairs[i], decisions[i]);
      take(row, curator, decisions[i]);
      if (states_[row].settled) continue;
      apply(decisions[i], group.pairs[i], swap_labels);
      if (open != i) {
        group.rows[open] = row;
        group.pairs[open] = std::move(group.pairs[i]);
      }
      ++open;
    }
    group.rows.resize(open);
    group.pairs.resize(open);
  }

  std::size_t position(const std::string& curator) const {
    for (std::size_t i = 0; i < params_.curators.size(); ++i)
      if (params_.curators[i] == curator) return i;
    throw DataError(
        fmt::format("{}: was made by other curators", (stage_.work / "decisions.jsonl").string()));
  }

  void take(std::size_t row, std::size_t curator, const Decision& decision) {
    states_.at(row).take(decision);
    switch (decision.action) {
      case Decision::Action::keep: ++counts_[curator]["kept"]; break;
      case Decision::Action::discard: ++counts_[curator]["discarded"]; break;
      case Decision::Action::flip: ++counts_[curator]["flipped"]; break;
      case Decision::Action::undecided: ++counts_[curator]["left open"]; break;
    }
  }

  void write_pairs() {
    Funnel funnel;
    funnel.step("pairs", files_.count());
    for (std::size_t i = 0; i < curators_.size(); ++i)
      for (const auto& [action, count] : counts_[i])
        funnel.step(params_.curators[i] + ": " + action, count);
    struct Written {
      std::string text;
      std::size_t kept = 0, undecided = 0;
      PreferencePair pair;  // scratch
    };
    FileWriter out(stage_.output / "pairs.jsonl");
    std::size_t kept = 0, undecided = 0;
    Written written;
    PairWindows<Written> windows(paths_, kWindow, [this](PairLines& lines, Written& written) {
      written.text.clear();
      written.kept = written.undecided = 0;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::size_t row = lines.first() + i;
        const State& state = states_.at(row);
        if (!state.settled && params_.undecided == "discard") {
          ++written.undecided;
          continue;
        }
        if (state.discarded) continue;
        ++written.kept;
        const PairMarks& marks = marks_[row];
        if (marks.known() &&
            (!state.flipped || state.strength || marks.strength == marks.strength_end)) {
          append_changed(written.text, lines.line(i), marks, state.flipped, state.strength,
                         state.strengths);
        } else {
          lines.read(i, written.pair);
          state.show_on(written.pair);
          written.text += to_json(written.pair);
        }
        written.text += '\n';
      }
    });
    while (windows.next(written)) {
      out.write(written.text);
      kept += written.kept;
      undecided += written.undecided;
    }
    out.close();
    funnel.step("pairs kept", kept);
    funnel.drop("undecided", undecided);
    funnel.drop("discarded", files_.count() - kept - undecided);
    funnel.write(stage_.output);
  }

  const CurateParams& params_;
  StageRun& stage_;
  const std::vector<fs::path> paths_;
  const PairFiles files_;
  std::vector<State> states_;     // of each pair
  std::vector<PairMarks> marks_;  // of each pair's line, so that it need not be read once more
  bool marked_ = false;
  DecisionLog log_;
  std::vector<std::shared_ptr<Curator>> curators_;
  std::vector<std::map<std::string, std::size_t>> counts_;  // of each curator
  std::map<std::string, std::unique_ptr<SurveyingCurator::Survey>>
      surveys_;  // of the pass at work, by source
  std::size_t window_ = 0;
  JsonWriter lines_;  // scratch
};

void run(const CurateParams& params, StageRun& stage) { Curation(params, stage).run(); }

}  // namespace

StageType curate_stage() {
  StageType type = make_stage<CurateParams>(
      "curate",
      "Curates preference pairs by a chain of curators, source by source (paper section 3.3).", "2",
      run);
  type.pass_by = pass_by_empty("pairs.jsonl");
  return type;
}

}  // namespace dt2it
