// SPDX-License-Identifier: Apache-2.0
#include "plugins/datasets/mini_world/mini_world_dataset.hpp"

#include <fmt/format.h>

#include <cmath>
#include <functional>
#include <utility>

#include "dt2it/error.hpp"
#include "plugins/common/mini_world/truth.hpp"

namespace dt2it::mini_world {
namespace {

constexpr std::array<std::pair<std::string_view, OpenSet>, 6> kOpenSets{
    {{"rlaif_v", OpenSet::rlaif_v},
     {"povid", OpenSet::povid},
     {"vlfeedback", OpenSet::vlfeedback},
     {"wildvision", OpenSet::wildvision},
     {"mm_rlhf", OpenSet::mm_rlhf},
     {"mmpr", OpenSet::mmpr}}};

// Parts and how many items they have unless told otherwise.
constexpr std::array<std::pair<std::string_view, std::int64_t>, 12> kParts{
    {{"prompts", 900},
     {"rlaif_v", 1000},
     {"povid", 1000},
     {"vlfeedback", 1000},
     {"wildvision", 1000},
     {"mm_rlhf", 1000},
     {"mmpr", 1000},
     {"t2i", 1200},
     {"vl_rewardbench", 1080},
     {"multimodal_rewardbench", 1600},
     {"mm_rlhf_rewardbench", 250},
     {"multi_image", 600}}};

bool is_benchmark(std::string_view part) {
  return part.ends_with("rewardbench") || part == "multi_image";
}

std::string_view domain_of(Kind kind) {
  switch (kind) {
    case Kind::count:
    case Kind::compare:
    case Kind::arithmetic: return "reasoning";
    case Kind::safety:
    case Kind::benign: return "safety";
    case Kind::match:
    case Kind::has:
    case Kind::more: return "multi_image";
    default: return "visual_understanding";
  }
}

template <class Record>
class IndexedStream final : public Stream<Record> {
 public:
  IndexedStream(std::size_t count, std::function<Record(std::size_t)> make)
      : count_(count), make_(std::move(make)) {}
  bool next(Record& record) override {
    if (at_ == count_) return false;
    record = make_(at_++);
    return true;
  }

 private:
  std::size_t count_, at_ = 0;
  std::function<Record(std::size_t)> make_;
};

Response response(std::string_view id, const Written& written) {
  Response made;
  made.id = id;
  made.text = written.text;
  made.origin = "dataset";
  return made;
}

std::string sign_name(double difference) {
  return difference > 0 ? "better" : difference < 0 ? "worse" : "tie";
}

}  // namespace

void MiniWorldDataset::Params::describe(Schema<Params>& schema) {
  std::vector<std::string> parts;
  for (const auto& [name, count] : kParts) parts.emplace_back(name);
  schema
      .field("part", &Params::part,
             "What to draw: prompts; an open preference set with its known faults; text-to-image "
             "preferences (t2i); "
             "or a benchmark (vl_rewardbench, multimodal_rewardbench, mm_rlhf_rewardbench, "
             "multi_image).")
      .choices(std::move(parts))
      .argument();
  schema
      .field("count", &Params::count,
             "How many items. Not given: prompts 900, open sets 1,000, t2i 1,200, multi_image 600, "
             "vl_rewardbench "
             "1,080, multimodal_rewardbench 1,600; mm_rlhf_rewardbench 250 questions of three "
             "pairs each. Groups "
             "of a benchmark keep their proportions, so its total may differ by a few.")
      .min(1)
      .max(10000000);
  schema.field("seed", &Params::seed,
               "Seed of everything drawn. Not given: the experiment's seed and the component's "
               "name; benchmarks "
               "then stay the same in every experiment.");
  schema
      .field(
          "style_bias", &Params::style_bias,
          "Open sets: strength of what good looks, length and house styles do; 0 none, 1 strong.")
      .min(0)
      .max(4);
  schema
      .field("label_noise", &Params::label_noise,
             "Open sets and t2i: strength of misjudgement and inattention; 0 none, 1 strong.")
      .min(0)
      .max(4);
  schema
      .field("aesthetics", &Params::aesthetics,
             "t2i: how much good looks of an image count beside its fidelity.")
      .min(0)
      .max(4);
  schema
      .field("pixel_noise", &Params::pixel_noise,
             "Standard deviation of the noise in all pictures, in grey levels.")
      .min(0)
      .max(255);
}

MiniWorldDataset::MiniWorldDataset(const Params& params, Context& context)
    : params_(params), context_(context) {
  std::int64_t usual = 0;
  for (const auto& [name, count] : kParts)
    if (name == params.part) usual = count;
  if (usual == 0) throw ConfigError("part: '" + params.part + "' is unknown");
  const std::int64_t count = params.count.value_or(usual);
  if (count < 1)
    throw ConfigError(fmt::format("count: {} is too small (allowed: 1 or more)", count));
  scale_ = static_cast<double>(count) / static_cast<double>(usual);
  if (params.part == "vl_rewardbench")
    questions_ = vl_rewardbench_size(scale_);
  else if (params.part == "multimodal_rewardbench")
    questions_ = multimodal_rewardbench_size(scale_);
  else if (params.part == "mm_rlhf_rewardbench")
    questions_ = mm_rlhf_rewardbench_questions(scale_);
  else
    questions_ = static_cast<std::size_t>(count);
  if (params.seed)
    seed_ = static_cast<std::uint64_t>(*params.seed);
  else if (!is_benchmark(params.part))
    seed_ = context.rng("data").next();
}

Rng MiniWorldDataset::item_rng(std::size_t index) const {
  return Rng(stable_hash(fmt::format("mini_world/{}/{}", params_.part, index), seed_));
}

Media MiniWorldDataset::picture(const Scene& scene, Rng& rng, double quality,
                                const std::string& source) const {
  return context_.media().put_image(draw(scene, rng, {params_.pixel_noise, quality}), source);
}

Prompt MiniWorldDataset::prompt(const Item& item, const std::string& id,
                                const std::string& picture_source, bool reference, Rng& rng) const {
  Prompt made;
  made.id = id;
  made.source = params_.part;
  made.domain = domain_of(item.question.kind);
  Message message;
  for (std::size_t i = 0; i < item.scenes.size(); ++i) {
    if (item.scenes.size() > 1)
      message.content.push_back(Part::of_text(fmt::format("Image {}:", i + 1)));
    message.content.push_back(Part::of_image(
        picture(item.scenes[i], rng, 1,
                item.scenes.size() > 1 ? fmt::format("{}-{}.png", picture_source, i + 1)
                                       : picture_source)));
  }
  message.content.push_back(Part::of_text(question_text(item.question)));
  made.messages = {std::move(message)};
  if (reference) {
    Statement statement = right_statement(item.question, item.scenes, rng);
    if (item.question.kind == Kind::caption)
      for (const Object& object : item.scenes[0].objects)
        statement.claims.push_back({object.colour, object.noun});
    made.reference = response_text(statement, Style::terse, rng);
  }
  Truth truth;
  truth.kind = item.question.kind;
  truth.scenes = item.scenes;
  made.extra = truth_extra(truth);
  return made;
}

Prompt MiniWorldDataset::prompt_at(std::size_t index) const {
  Rng rng = item_rng(index);
  const std::string id = fmt::format("{}-{:06}", params_.part, index);
  return prompt(random_item(rng, kEverything), id, fmt::format("{}/{:06}.png", params_.part, index),
                true, rng);
}

PreferencePair MiniWorldDataset::record(const LabelledPair& pair, const std::string& id,
                                        const std::string& picture_source, bool reference,
                                        Rng& rng) const {
  PreferencePair made;
  made.id = id;
  made.prompt = prompt(pair.item, id, picture_source, reference, rng);
  made.chosen = response("chosen", pair.chosen);
  made.rejected = response("rejected", pair.rejected);
  made.source = params_.part;
  return made;
}

PreferencePair MiniWorldDataset::record(const BenchmarkPair& pair, Rng& rng) const {
  PreferencePair made = record(pair.pair, pair.id, pair.source, false, rng);
  made.group = pair.group;
  if (!pair.extra.empty()) made.extra = '{' + pair.extra + '}';
  return made;
}

PreferencePair MiniWorldDataset::pair_at(std::size_t index) const {
  if (params_.part == "mm_rlhf_rewardbench") {
    // The three pairs of a question share its stream, and so its picture.
    Rng rng = item_rng(index / 3);
    const auto pairs = mm_rlhf_rewardbench_pairs(index / 3, scale_, rng);
    return record(pairs[index % 3], rng);
  }
  Rng rng = item_rng(index);
  if (params_.part == "vl_rewardbench") return record(vl_rewardbench_pair(index, scale_, rng), rng);
  if (params_.part == "multimodal_rewardbench")
    return record(multimodal_rewardbench_pair(index, scale_, rng), rng);
  if (params_.part == "multi_image") return record(multi_image_pair(index, rng), rng);
  for (const auto& [name, set] : kOpenSets)
    if (name == params_.part) {
      const LabelledPair pair = open_set_pair(set, {params_.style_bias, params_.label_noise}, rng);
      // Of the published sets only these two carry a known answer.
      const bool reference = set == OpenSet::povid || set == OpenSet::mmpr;
      return record(pair, fmt::format("{}-{:06}", name, index),
                    fmt::format("{}/{:06}.png", name, index), reference, rng);
    }
  throw DataError("part '" + params_.part + "' of the mini world offers no preference pairs");
}

ImagePreference MiniWorldDataset::image_preference_at(std::size_t index) const {
  Rng rng = item_rng(index);
  const TextScenes text = random_text_scenes(rng);
  const double first_quality = rng.uniform(.35, 1);
  const double second_quality = rng.uniform(.35, 1);
  // What people see in the pair; the scales are those of a vote that follows fidelity first.
  const int fidelity = text.second_faults - text.first_faults;
  const double utility = 1.6 * fidelity + 4 * params_.aesthetics * (first_quality - second_quality);
  const double u = std::min(std::max(rng.uniform(), 1e-12), 1 - 1e-12);
  const bool first_better = utility + .7 * params_.label_noise * std::log(u / (1 - u)) > 0;

  ImagePreference made;
  made.id = fmt::format("t2i-{:06}", index);
  made.text = caption_text(text.phrases);
  made.source = params_.part;
  const Media first =
      picture(text.first, rng, first_quality, fmt::format("t2i/{:06}-a.png", index));
  const Media second =
      picture(text.second, rng, second_quality, fmt::format("t2i/{:06}-b.png", index));
  made.better = first_better ? first : second;
  made.worse = first_better ? second : first;
  Truth truth;
  truth.kind = Kind::match;
  truth.preferred = sign_name(first_better ? utility : -utility);
  truth.aligned = sign_name(first_better ? fidelity : -fidelity);
  made.extra = truth_extra(truth);
  return made;
}

std::size_t MiniWorldDataset::pair_count() const {
  return params_.part == "mm_rlhf_rewardbench" ? 3 * questions_ : questions_;
}

std::unique_ptr<Stream<Prompt>> MiniWorldDataset::prompts() {
  if (params_.part == "t2i") return Dataset::prompts();
  if (params_.part == "prompts")
    return std::make_unique<IndexedStream<Prompt>>(questions_,
                                                   [this](std::size_t i) { return prompt_at(i); });
  const std::size_t pairs_each = pair_count() / questions_;  // prompts come once
  return std::make_unique<IndexedStream<Prompt>>(
      questions_, [this, pairs_each](std::size_t i) { return pair_at(i * pairs_each).prompt; });
}

std::unique_ptr<Stream<PreferencePair>> MiniWorldDataset::pairs() {
  if (params_.part == "prompts" || params_.part == "t2i")
    throw DataError("part '" + params_.part + "' of the mini world offers no preference pairs");
  return std::make_unique<IndexedStream<PreferencePair>>(
      pair_count(), [this](std::size_t i) { return pair_at(i); });
}

std::unique_ptr<Stream<ImagePreference>> MiniWorldDataset::image_preferences() {
  if (params_.part != "t2i")
    throw DataError("part '" + params_.part +
                    "' of the mini world offers no text-to-image preferences");
  return std::make_unique<IndexedStream<ImagePreference>>(
      questions_, [this](std::size_t i) { return image_preference_at(i); });
}

}  // namespace dt2it::mini_world
