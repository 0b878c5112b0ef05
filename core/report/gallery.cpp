// SPDX-License-Identifier: Apache-2.0
#include "core/report/gallery.hpp"

#include <algorithm>
#include <array>
#include <set>

#include "core/report/gallery_pair.hpp"
#include "core/run/layout.hpp"
#include "dt2it/error.hpp"

namespace dt2it::report {

namespace {

using simdjson::dom::element;

constexpr std::size_t kLargestPicture = 1'500'000;  // bytes; a page with 24 of them still opens
constexpr std::array kShownTypes{"image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp"};

std::string base64(const Bytes& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = static_cast<std::uint32_t>(bytes[i]) << 16;
    if (i + 1 < bytes.size()) group |= static_cast<std::uint32_t>(bytes[i + 1]) << 8;
    if (i + 2 < bytes.size()) group |= bytes[i + 2];
    out += kDigits[group >> 18];
    out += kDigits[group >> 12 & 63];
    out += i + 1 < bytes.size() ? kDigits[group >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? kDigits[group & 63] : '=';
  }
  return out;
}

GalleryPicture picture(const element& json, std::string caption, MediaStore* store) {
  Media media;
  media.id = text_of(json, "id");
  media.mime = text_of(json, "mime");
  media.source = text_of(json, "source");
  if (media.id.empty()) {  // a video given as frames: show the first
    simdjson::dom::array frames;
    std::string_view first;
    if (!json["frames"].get(frames) && frames.begin() != frames.end() && !frames.at(0).get(first)) {
      media.id = std::string(first);
      media.mime = "image/jpeg";  // pages sniff; frames carry no type of their own
      caption += ", first frame";
    }
  }
  GalleryPicture result{std::move(caption), {}};
  if (media.id.empty()) {
    result.caption += ": absent" + (media.source.empty() ? "" : " (" + media.source + ")");
    return result;
  }
  if (!store) {
    result.caption += ": not shown, there is no media store";
    return result;
  }
  if (std::find(kShownTypes.begin(), kShownTypes.end(), media.mime) == kShownTypes.end()) {
    result.caption += ": not shown, type '" + media.mime + "'";
    return result;
  }
  try {
    const Bytes bytes = store->bytes(media);
    if (bytes.size() > kLargestPicture)
      result.caption += ": not shown, " + std::to_string(bytes.size() / 1000) + " kB";
    else
      result.data_url = "data:" + media.mime + ";base64," + base64(bytes);
  } catch (const DataError&) {
    result.caption += ": no longer in the media store";
  }
  return result;
}

struct PromptParts {
  std::string text;
  std::vector<GalleryPicture> pictures;
};

PromptParts read_prompt(const element& prompt, MediaStore* store) {
  PromptParts parts;
  simdjson::dom::array messages;
  if (prompt["messages"].get(messages)) return parts;
  const bool one_turn = messages.size() == 1;
  for (const element message : messages) {
    if (!parts.text.empty()) parts.text += "\n\n";
    if (!one_turn) parts.text += text_of(message, "role") + ": ";
    std::string_view plain;
    if (!message["content"].get(plain)) parts.text += plain;
    simdjson::dom::array content;
    if (message["content"].get(content)) continue;
    for (const element part : content) {
      const std::string type = text_of(part, "type");
      element media;
      if (type == "text")
        parts.text += text_of(part, "text");
      else if (!part[type].get(media))
        parts.pictures.push_back(
            picture(media, type + " " + std::to_string(parts.pictures.size() + 1), store));
    }
  }
  return parts;
}

// A pair's own truth, and its prompt's.
std::string truth_of(const element& pair) {
  element truth;
  if (!pair["truth"].get(truth) || !pair["prompt"]["truth"].get(truth))
    return simdjson::minify(truth);
  return {};
}

}  // namespace

GalleryPair read_gallery_pair(const element& json, MediaStore* store) {
  GalleryPair pair;
  pair.id = text_of(json, "id");
  pair.source = text_of(json, "source");
  pair.group = text_of(json, "group");
  double strength = 0;
  if (!json["strength"].get(strength)) pair.strength = strength;
  pair.truth = truth_of(json);
  element part;
  if (!json["prompt"].get(part)) {
    PromptParts prompt = read_prompt(part, store);
    pair.question = std::move(prompt.text);
    pair.pictures = std::move(prompt.pictures);
    pair.reference = text_of(part, "reference");
  }
  if (!json["rejected_prompt"].get(part))
    pair.rejected_pictures = read_prompt(part, store).pictures;
  if (!json["chosen"].get(part)) {
    pair.chosen = text_of(part, "text");
    pair.chosen_id = text_of(part, "id");
  }
  if (!json["rejected"].get(part)) {
    pair.rejected = text_of(part, "text");
    pair.rejected_id = text_of(part, "id");
  }
  return pair;
}

namespace {

std::string score_json(const element& score) {
  simdjson::dom::object fields;
  if (score.get(fields)) return {};
  std::string out;
  for (const char* key :
       {"status", "overall", "stated_overall", "criteria", "judge_reference", "detail"}) {
    element value;
    if (fields[key].get(value)) continue;
    out += (out.empty() ? "{\"" : ",\"") + std::string(key) +
           "\":" + std::string(simdjson::minify(value));
  }
  return out.empty() ? out : out + "}";
}

std::vector<GalleryCandidate> read_candidates(const element& set) {
  std::vector<GalleryCandidate> result;
  simdjson::dom::array candidates;
  if (set["candidates"].get(candidates)) return result;
  for (const element json : candidates)
    result.push_back({text_of(json, "id"),
                      text_of(json, "text"),
                      text_of(json, "mllm"),
                      text_of(json, "origin"),
                      text_of(json, "status"),
                      {}});
  simdjson::dom::object scorers;
  if (set["scores"].get(scorers)) return result;
  for (const auto& [name, list] : scorers) {
    simdjson::dom::array scores;
    if (list.get(scores)) continue;
    std::size_t i = 0;
    for (const element score : scores)
      if (i < result.size()) result[i++].scores[std::string(name)] = score_json(score);
  }
  return result;
}

// The pictures that added candidates were written from (diversity enhancement), each once.
void add_noised_pictures(const element& set, MediaStore* store,
                         std::vector<GalleryPicture>& pictures) {
  simdjson::dom::array candidates;
  if (set["candidates"].get(candidates)) return;
  std::set<std::string> seen;
  for (const element json : candidates) {
    element media;
    if (json["noised_image"].get(media) || !seen.insert(text_of(media, "id")).second) continue;
    pictures.push_back(picture(media, "noised, for candidate " + text_of(json, "id"), store));
  }
}

const StageSummary* last_with(const RunSummary& run, const char* file) {
  for (auto stage = run.stages.rbegin(); stage != run.stages.rend(); ++stage)
    if (std::filesystem::exists(stage->folder / file)) return &*stage;
  return nullptr;
}

}  // namespace

const StageSummary* pair_stage(const RunSummary& run) { return last_with(run, layout::kPairs); }
const StageSummary* candidate_stage(const RunSummary& run) {
  return last_with(run, layout::kCandidates);
}

std::vector<GalleryPair> make_gallery(const RunSummary& run, std::size_t count, MediaStore* media) {
  std::vector<GalleryPair> gallery;
  const StageSummary* stage = pair_stage(run);
  if (!stage || count == 0) return gallery;
  const auto file = stage->folder / layout::kPairs;
  const auto total = static_cast<std::size_t>(count_lines(file));
  count = std::min(count, total);
  std::vector<std::string> prompt_ids;
  std::size_t seen = 0;
  for_each_line(file, [&](std::size_t, const element& json) {
    const std::size_t row = seen++;
    // The k-th pick is row k * total / count.
    const std::size_t k = gallery.size();
    if (k == count || row != k * total / count) return;
    gallery.push_back(read_gallery_pair(json, media));
    element prompt;
    prompt_ids.push_back(json["prompt"].get(prompt) ? std::string() : text_of(prompt, "id"));
  });
  const StageSummary* candidates = candidate_stage(run);
  if (!candidates) return gallery;
  const std::set<std::string> wanted(prompt_ids.begin(), prompt_ids.end());
  for_each_line(candidates->folder / layout::kCandidates, [&](std::size_t, const element& set) {
    element prompt;
    if (set["prompt"].get(prompt)) return;
    const std::string id = text_of(prompt, "id");
    if (!wanted.contains(id)) return;
    const auto list = read_candidates(set);
    for (std::size_t i = 0; i < gallery.size(); ++i) {
      // Ids of foreign data may repeat: the responses must be among the candidates too.
      const auto has = [&](const std::string& text) {
        return std::any_of(list.begin(), list.end(), [&](const auto& c) { return c.text == text; });
      };
      if (prompt_ids[i] != id || !gallery[i].candidates.empty() || !has(gallery[i].chosen) ||
          !has(gallery[i].rejected))
        continue;
      gallery[i].candidates = list;
      add_noised_pictures(set, media, gallery[i].pictures);
    }
  });
  return gallery;
}

std::vector<GalleryError> make_errors(const RunSummary& run, std::size_t count, MediaStore* media) {
  const StageSummary* stage = nullptr;
  for (const Evaluation& evaluation : run.evaluations)
    if (!evaluation.benchmarks.empty() && evaluation.benchmarks.front().pictures.empty())
      stage = run.stage(evaluation.stage);
  std::vector<GalleryError> errors;
  if (!stage || !std::filesystem::exists(stage->folder / layout::kItems)) return errors;

  // Lines of wrong answers by benchmark and group, the worst first.
  std::map<std::string, std::vector<std::pair<double, std::size_t>>> groups;
  std::map<std::size_t, GalleryError> wrong;
  std::size_t number = 0;
  for_each_line(stage->folder / layout::kOutcomes, [&](std::size_t, const element& line) {
    const std::size_t at = number++;
    element outcome;
    if (line["outcome"].get(outcome)) return;
    GalleryError error;
    error.benchmark = text_of(line, "benchmark");
    error.status = text_of(outcome, "status");
    double margin = -1e300;  // of a failure
    if (error.status == "ok") {
      error.chosen_reward = number_of(outcome, "chosen_reward");
      error.rejected_reward = number_of(outcome, "rejected_reward");
      margin = *error.rejected_reward - *error.chosen_reward;
      if (margin < 0) return;
    }
    groups[error.benchmark + "/" + text_of(outcome, "group")].emplace_back(-margin, at);
    wrong.emplace(at, std::move(error));
  });
  for (auto& [name, list] : groups) std::sort(list.begin(), list.end());
  std::vector<std::size_t> picked;
  for (std::size_t rank = 0; picked.size() < count; ++rank) {
    bool any = false;
    for (const auto& [name, list] : groups)
      if (rank < list.size() && picked.size() < count) {
        picked.push_back(list[rank].second);
        any = true;
      }
    if (!any) break;
  }
  const std::set<std::size_t> wanted(picked.begin(), picked.end());
  number = 0;
  for_each_line(stage->folder / layout::kItems, [&](std::size_t, const element& line) {
    const std::size_t at = number++;
    element pair;
    if (wanted.contains(at) && !line["pair"].get(pair))
      wrong[at].pair = read_gallery_pair(pair, media);
  });
  for (const std::size_t at : picked) errors.push_back(std::move(wrong[at]));
  return errors;
}

}  // namespace dt2it::report
