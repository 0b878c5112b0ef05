// SPDX-License-Identifier: Apache-2.0
// How far pairs are free of style and position bias: what the paper claims of its own (section 3.1), measured.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <xtensor/xhistogram.hpp>
#include <xtensor/xmath.hpp>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/pair_files.hpp"
#include "core/stages/stages.hpp"
#include "core/stages/style.hpp"
#include "core/util/characters.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {
namespace {

struct BiasParams {
  std::vector<std::string> pairs;
  std::int64_t sample = 50000;

  static void describe(Schema<BiasParams>& schema) {
    schema
        .component<StageInputs>("pairs", &BiasParams::pairs,
                                "Stages whose pairs are measured, each by itself.")
        .required();
    schema
        .field("sample", &BiasParams::sample,
               "Pairs of each that are looked at, drawn at random; 0: all.")
        .min(0);
  }
};

// What is kept of the pairs of one source.
struct Group {
  std::vector<float> rows;  // differences of style, kStyleColumns each
  std::vector<std::uint8_t> folds;
  std::vector<double> strengths;  // points, or differences of rewards
  std::size_t pairs = 0, longer = 0, unequal = 0, marked = 0, marked_unequal = 0, earlier = 0,
              placed = 0;
  double log_ratio = 0;
};

std::optional<long> number_of(const std::string& id) {
  long number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  return error == std::errc() && end == id.data() + id.size() && !id.empty() ? std::optional(number)
                                                                             : std::nullopt;
}

// Mean difference of the scores in `extra`, as stage pair leaves them there; else the strength by reward models.
std::optional<double> strength_of(const PreferencePair& pair) {
  simdjson::dom::parser parser;
  simdjson::dom::object scores;
  if (!pair.extra.empty() && !parser.parse(pair.extra)["scores"].get(scores)) {
    double sum = 0;
    std::size_t count = 0;
    for (const auto& [scorer, values] : scores) {
      double chosen = 0, rejected = 0;
      if (values[pair.chosen.id].get(chosen) || values[pair.rejected.id].get(rejected)) continue;
      sum += chosen - rejected;
      ++count;
    }
    if (count > 0) return sum / static_cast<double>(count);
  }
  return pair.strength;
}

void add(Group& group, const PreferencePair& pair) {
  ++group.pairs;
  const std::string &chosen = pair.chosen.text, &rejected = pair.rejected.text;
  const std::size_t lengths[] = {characters(chosen), characters(rejected)};
  group.longer += lengths[0] > lengths[1];
  group.unequal += lengths[0] != lengths[1];
  group.log_ratio +=
      std::log((1.0 + static_cast<double>(lengths[0])) / (1.0 + static_cast<double>(lengths[1])));
  const double marks[] = {markdown_marks(chosen), markdown_marks(rejected)};
  group.marked += marks[0] > marks[1];
  group.marked_unequal += marks[0] != marks[1];
  const auto places = std::pair(number_of(pair.chosen.id), number_of(pair.rejected.id));
  if (places.first && places.second) {
    ++group.placed;
    group.earlier += *places.first < *places.second;
  }
  if (const auto strength = strength_of(pair)) group.strengths.push_back(*strength);
  group.rows.resize(group.rows.size() + kStyleColumns);
  float* row = group.rows.data() + group.rows.size() - kStyleColumns;
  add_style(chosen, pair.chosen.mllm, 1, row);
  add_style(rejected, pair.rejected.mllm, -1, row);
  group.folds.push_back(static_cast<std::uint8_t>(stable_hash(pair.prompt.id) % 5));
}

void share(JsonWriter& json, const char* key, std::size_t count, std::size_t of) {
  json.key(key);
  if (of)
    json.value(static_cast<double>(count) / static_cast<double>(of));
  else
    json.null();
}

// How the scorers of a stage `pair` agree on the couples of candidates, by the prompts' source; "" is all of them. Empty for other pairs.
struct Agreement {
  std::int64_t agreed = 0, disagreed = 0, equal = 0;
};
std::map<std::string, Agreement> agreements_of(const std::filesystem::path& file) {
  std::map<std::string, Agreement> sources;
  if (!std::filesystem::exists(file)) return sources;
  simdjson::dom::parser parser;
  simdjson::dom::array list;
  if (parser.load(file.string())["sources"].get(list))
    throw DataError(file.string() + ": has no list 'sources'");
  for (const simdjson::dom::element source : list) {
    std::string_view name;
    std::int64_t agreed = 0, disagreed = 0, equal = 0;
    if (source["source"].get(name) || source["agreed"].get(agreed) ||
        source["disagreed"].get(disagreed) || source["equal"].get(equal))
      throw DataError(file.string() +
                      ": a source must have 'source', 'agreed', 'disagreed' and 'equal'");
    for (const std::string& key : std::set<std::string>{"", std::string(name)}) {
      sources[key].agreed += agreed;
      sources[key].disagreed += disagreed;
      sources[key].equal += equal;
    }
  }
  return sources;
}

// Distilled pairs are all of one source; where their prompts come from tells more.
const std::string& source_of(const PreferencePair& pair) {
  return pair.source == "distil" ? pair.prompt.source : pair.source;
}

void write(JsonWriter& json, const std::string& source, const Group& group,
           const std::map<std::string, Agreement>& agreements) {
  json.begin_object().key("source").value(source).key("pairs").value(group.pairs);
  share(json, "longer_chosen", group.longer, group.unequal);
  share(json, "more_markdown_chosen", group.marked, group.marked_unequal);
  share(json, "earlier_chosen", group.earlier, group.placed);  // by the number of the candidate
  if (const auto found = agreements.find(source); found != agreements.end()) {
    const Agreement& one = found->second;
    const auto of = [](std::int64_t count) { return static_cast<std::size_t>(count); };
    share(json, "scorers_agree", of(one.agreed),
          of(one.agreed + one.disagreed));  // of couples that neither scorer holds equal
    share(json, "scores_equal", of(one.equal), of(one.agreed + one.disagreed + one.equal));
  }
  json.key("length_ratio")
      .value(
          std::exp(group.log_ratio / static_cast<double>(std::max<std::size_t>(1, group.pairs))));
  xt::xtensor<float, 2> differences = xt::zeros<float>({group.pairs, kStyleColumns});
  std::copy(group.rows.begin(), group.rows.end(), differences.begin());
  json.key("told_by").begin_object();
  for (const StyleFamily& family : kStyleFamilies) {
    const StyleAccuracy accuracy = style_accuracy(differences, group.folds, family);
    json.key(family.name).begin_object();
    json.key("accuracy")
        .value(accuracy.value)
        .key("low")
        .value(accuracy.low)
        .key("high")
        .value(accuracy.high);
    json.end_object();
  }
  json.end_object();
  json.key("strength").begin_object();
  if (!group.strengths.empty()) {
    xt::xtensor<double, 1> values = xt::zeros<double>({group.strengths.size()});
    std::copy(group.strengths.begin(), group.strengths.end(), values.begin());
    json.key("mean").value(xt::mean(values)()).key("deviation").value(xt::stddev(values)());
    const xt::xtensor<double, 1> counts =
        xt::histogram(xt::eval(xt::clip(values, 0.0, 9.9999)), std::size_t{20}, 0.0, 10.0);
    json.key("histogram").begin_array();  // half a point each, from 0
    for (const double count : counts) json.value(static_cast<std::int64_t>(std::llround(count)));
    json.end_array();
  }
  json.end_object().end_object();
}

void run(const BiasParams& params, StageRun& stage) {
  JsonWriter json;
  json.begin_object().key("sets").begin_array();
  for (const std::string& name : params.pairs) {
    const PairFiles file(pair_files(stage, {name}));
    Rng rng = stage.context().rng("sample/" + name);
    std::size_t left = file.count(),
                wanted = params.sample > 0 ? static_cast<std::size_t>(params.sample) : left;
    Group all;
    std::map<std::string, Group> sources;
    const auto stream = file.open();
    for (PreferencePair pair; stream->next(pair);) {
      stage.check_stop();
      const bool taken = wanted > 0 && (left <= wanted || rng.below(left) < wanted);
      --left;
      if (!taken) continue;
      --wanted;
      add(all, pair);
      add(sources[source_of(pair)], pair);
    }
    json.begin_object()
        .key("stage")
        .value(name)
        .key("pairs")
        .value(file.count())
        .key("sources")
        .begin_array();
    const auto agreements = agreements_of(stage.input(name) / layout::kAgreement);
    write(json, "", all, agreements);
    if (sources.size() > 1)
      for (const auto& [source, group] : sources) write(json, source, group, agreements);
    json.end_array().end_object();
  }
  json.end_array().end_object();
  write_file_atomically(stage.output / layout::kBias, json.text() + "\n");
}

}  // namespace

StageType bias_stage() {
  StageType type = make_stage<BiasParams>("bias",
                                          "Measures what style, length, position and the writer's "
                                          "name tell of the labels of pairs, and "
                                          "how far scorers agree; changes nothing.",
                                          "2", run);
  type.names_inputs = true;
  return type;
}

}  // namespace dt2it
