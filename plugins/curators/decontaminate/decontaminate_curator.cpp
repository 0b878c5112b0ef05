// SPDX-License-Identifier: Apache-2.0
#include "plugins/curators/decontaminate/decontaminate_curator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "dt2it/benchmark.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/json_text.hpp"
#include "plugins/common/concurrent.hpp"
#include "plugins/curators/decontaminate/image_hash.hpp"

namespace dt2it {
namespace {

std::string question_of(const Prompt& prompt) {
  std::string text;
  for (auto message = prompt.messages.rbegin(); message != prompt.messages.rend(); ++message)
    if (message->role == Message::Role::user) {
      for (const Part& part : message->content)
        if (part.kind == Part::Kind::text) text += part.text + '\n';
      break;
    }
  return text;
}

// Images, and the frames of videos given as frames.
std::vector<Media> images_of(const Prompt& prompt) {
  std::vector<Media> images;
  for (const Message& message : prompt.messages)
    for (const Part& part : message.content) {
      if (part.kind == Part::Kind::text) continue;
      if (part.media.frames.empty()) {
        images.push_back(part.media);
        continue;
      }
      for (const std::string& frame : part.media.frames) {
        Media image;
        image.id = frame;
        image.width = part.media.width;
        image.height = part.media.height;
        images.push_back(std::move(image));
      }
    }
  return images;
}

}  // namespace

void DecontaminateCurator::describe(Schema<Params>& schema) {
  schema.component<Benchmark>("benchmarks", &Params::benchmarks, "Benchmarks to keep out.");
  schema.component<Dataset>("datasets", &Params::datasets,
                            "Data sets to keep out: their pairs, or their prompts.");
  schema
      .field("max_distance", &Params::max_distance,
             "Images are near-identical when their perceptual hashes differ in at most so many of "
             "64 bits.")
      .min(0)
      .max(15);
  schema
      .field("ngram", &Params::ngram,
             "Words in a row that are compared; shorter questions must be equal.")
      .min(1)
      .max(50);
  schema
      .field("containment", &Params::containment,
             "Questions overlap when at least this share of a benchmark question's rows of words "
             "is in the other.")
      .min(0.01)
      .max(1);
  schema
      .field("threads", &Params::threads,
             "Threads that decode and hash images; 0: one for each core.")
      .min(0)
      .max(256);
}

DecontaminateCurator::DecontaminateCurator(const Params& params, Context& context)
    : params_(params), context_(context) {
  if (params.benchmarks.empty() && params.datasets.empty())
    throw ConfigError("benchmarks, datasets: name at least one");
}

DecontaminateCurator::Hashes DecontaminateCurator::hashes_of(const Media& media) const {
  Hashes hashes;
  if (media.id.empty()) return hashes;
  hashes.content = stable_hash(media.id);
  try {
    auto hash = perceptual_hash(context_.media().bytes(media), media.width, media.height);
    if (!hash && media.mime != "image/jpeg" && media.mime != "image/png") {
      const DecodedImage decoded = context_.media().decode(media);
      if (decoded.status == Status::ok) hash = perceptual_hash(decoded.image);
    }
    if (hash) {
      hashes.perceptual = *hash;
      hashes.has_perceptual = true;
    }
  } catch (const DataError&) {  // it is not in the store; what is absent matches nothing
  }
  return hashes;
}

void DecontaminateCurator::add(const PreferencePair& pair, std::uint32_t source) {
  const auto item = static_cast<std::uint32_t>(items_.size());
  items_.push_back(
      {source, pair.id.empty() ? pair.prompt.id : pair.id,
       question_key(question_of(pair.prompt), static_cast<std::size_t>(params_.ngram))});
  std::vector<Media> images = images_of(pair.prompt);
  if (pair.rejected_prompt)
    for (Media& image : images_of(*pair.rejected_prompt)) images.push_back(std::move(image));
  for (const Media& image : images) {
    if (!image.present()) {
      ++absent_;
      continue;
    }
    const Hashes hashes = hashes_of(image);
    // Without contrast there is no perceptual hash: one that nothing is near to but its own
    // content.
    const std::uint64_t perceptual =
        hashes.has_perceptual ? hashes.perceptual : hashes.content * 0x9e3779b97f4a7c15ULL;
    const auto [number, fresh] = image_numbers_.try_emplace(
        {hashes.content, perceptual}, static_cast<std::uint32_t>(index_.size()));
    if (fresh) {
      index_.add(hashes.content, perceptual);
      uses_of_image_.push_back(kNoUse);
    }
    std::uint32_t& first = uses_of_image_[number->second];
    uses_.push_back({item, first});
    first = static_cast<std::uint32_t>(uses_.size() - 1);
  }
}

void DecontaminateCurator::read_benchmarks() {
  for (const std::string& name : params_.benchmarks) {
    names_.push_back(name);
    const auto stream = context_.component<Benchmark>(name)->items();
    for (PreferencePair pair; stream->next(pair);)
      add(pair, static_cast<std::uint32_t>(names_.size() - 1));
  }
  for (const std::string& name : params_.datasets) {
    names_.push_back(name);
    const auto source = static_cast<std::uint32_t>(names_.size() - 1);
    const auto dataset = context_.component<Dataset>(name);
    std::unique_ptr<Stream<PreferencePair>> pairs;
    try {
      pairs = dataset->pairs();
    } catch (const DataError&) {  // it offers prompts
    }
    PreferencePair pair;
    if (pairs) {
      while (pairs->next(pair))
        if (!pair.prompt.messages.empty()) add(pair, source);
    } else {
      const auto prompts = dataset->prompts();
      while (prompts->next(pair.prompt))
        if (!pair.prompt.messages.empty()) add(pair, source);
    }
  }
  index_.build();
  image_numbers_.clear();
  if (absent_ > 0)
    context_.log(LogLevel::warning, fmt::format("{} images of the benchmarks are absent: what "
                                                "shares them with training data cannot be found",
                                                absent_));
}

Decision DecontaminateCurator::decide(const PreferencePair& pair) const {
  Decision decision;
  decision.settled = false;
  decision.reason = "no image of a benchmark";
  std::vector<Media> images = images_of(pair.prompt);
  if (pair.rejected_prompt)
    for (Media& image : images_of(*pair.rejected_prompt)) images.push_back(std::move(image));
  const QuestionKey question =
      question_key(question_of(pair.prompt), static_cast<std::size_t>(params_.ngram));
  // The greatest overlap counts; among equal ones the nearest image, then the item that came first.
  double best = -1;
  ImageIndex::Hit best_hit{};
  std::uint32_t best_use = kNoUse;
  const Media* best_image = nullptr;
  for (const Media& image : images) {
    if (image.id.empty()) continue;
    const Hashes hashes = hashes_of(image);
    for (const ImageIndex::Hit& hit :
         index_.find(hashes.content, hashes.perceptual,
                     hashes.has_perceptual ? static_cast<int>(params_.max_distance) : -1))
      for (std::uint32_t use = uses_of_image_[hit.image]; use != kNoUse; use = uses_[use].next) {
        const double overlap = containment(items_[uses_[use].item].question, question);
        const bool as_near = best_image == &image && hit.exact == best_hit.exact &&
                             hit.distance == best_hit.distance;
        if (overlap < best || (overlap == best && !(as_near && use < best_use))) continue;
        best = overlap;
        best_hit = hit;
        best_use = use;
        best_image = &image;
      }
  }
  if (!best_image) return decision;
  const Item& item = items_[uses_[best_use].item];
  const bool discard = best >= params_.containment;
  const std::string likeness =
      best_hit.exact ? "same image" : fmt::format("image {} of 64 bits away", best_hit.distance);
  decision.action = discard ? Decision::Action::discard : Decision::Action::undecided;
  decision.settled = discard;
  decision.reason = fmt::format("{} as item '{}' of {}, {}", likeness, item.id, names_[item.source],
                                best >= 1 ? std::string("same question")
                                : discard ? fmt::format("{:.0f} % of its question", 100 * best)
                                          : std::string("another question"));
  decision.detail = fmt::format(
      R"({{"benchmark":{},"item":{},"image":{},"exact":{},"distance":{},"containment":{:.4f}}})",
      json_text(names_[item.source]), json_text(item.id), json_text(best_image->id), best_hit.exact,
      best_hit.distance, best);
  return decision;
}

std::vector<Decision> DecontaminateCurator::review(std::span<const PreferencePair> pairs) {
  {
    std::lock_guard lock(mutex_);
    if (!ready_) read_benchmarks();
    ready_ = true;
  }
  std::vector<Decision> decisions(pairs.size());
  const auto cores = params_.threads > 0 ? static_cast<int>(params_.threads)
                                         : static_cast<int>(std::thread::hardware_concurrency());
  concurrently(pairs.size(), std::max(1, cores),
               [&](std::size_t i) { decisions[i] = decide(pairs[i]); });
  return decisions;
}

}  // namespace dt2it
