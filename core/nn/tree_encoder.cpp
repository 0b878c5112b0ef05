// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tree_encoder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/nn/parallel.hpp"
#include "dt2it/error.hpp"

namespace dt2it::nn {
namespace {

// Ends the encoding of a record with a status.
struct Unusable {
  Status status;
  std::string detail;
};

std::size_t common(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first -
                                  a.begin());
}

}  // namespace

std::pair<std::size_t, std::size_t> share_cutoff(std::size_t source, std::size_t target,
                                                 std::size_t cutoff) {
  std::size_t most = 0;  // tokens that the response may have
  if (target * 2 < cutoff)
    most = cutoff;
  else if (source * 2 < cutoff)
    most = cutoff - source;
  else
    most = static_cast<std::size_t>(
        static_cast<double>(cutoff) *
        (static_cast<double>(target) / static_cast<double>(source + target)));
  const std::size_t response = std::min(most, target);
  return {std::min(source, cutoff - std::min(cutoff, response)), response};
}

// Fills a tree from left to right.
class TreeEncoder::Builder {
 public:
  Builder(const TreeEncoder& encoder, TokenTree& tree)
      : encoder_(encoder), tree_(tree), positions_(tree.positions) {}

  std::vector<std::int64_t> ids(std::string_view text) const {
    std::vector<std::int64_t> made = encoder_.tokenizer_.encode(text);
    const auto& options = encoder_.options_;
    for (const std::int64_t id : made)
      if (id == options.image_token || (options.videos && id == options.videos->token))
        throw Unusable{Status::invalid,
                       "a text contains the placeholder of an image or a video as a token"};
    return made;
  }

  void text(std::string_view more) { pending_ += more; }
  // The text so far is tokenised.
  void flush() {
    append(ids(pending_));
    pending_.clear();
  }
  // The text that is not tokenised yet.
  const std::string& pending() const { return pending_; }
  void append(std::span<const std::int64_t> ids) {
    tree_.tokens.insert(tree_.tokens.end(), ids.begin(), ids.end());
    positions_.text(ids.size());
  }

  void image(const Visual& visual) {
    text("<|vision_start|>");
    flush();
    placeholders(visual, encoder_.options_.image_token, 0, 1, 0);
    text("<|vision_end|>");
  }

  // Qwen2.5-VL: one run. Qwen3-VL: one for each temporal step, with its time before it and markers
  // of its own; transformers 5 puts one more pair of markers around all of them.
  void video(const Visual& visual) {
    const VideoOptions& videos = *encoder_.options_.videos;
    if (encoder_.options_.family == Family::qwen2_5_vl) {
      text("<|vision_start|>");
      flush();
      // An integer before it is multiplied: 0.5 s become 0, as in 4.57.6.
      placeholders(visual, videos.token, 0, static_cast<std::int64_t>(visual.times.size()),
                   static_cast<std::int64_t>(visual.seconds_per_step) * videos.tokens_per_second);
      text("<|vision_end|>");
    } else {
      for (std::size_t step = 0; step < visual.times.size(); ++step) {
        text(fmt::format("<{:.1f} seconds><|vision_start|>", visual.times[step]));
        flush();
        placeholders(visual, videos.token, step, 1, 0);
        text("<|vision_end|>");
      }
    }
  }
  void keep(std::shared_ptr<const PreparedVisual> pixels) {
    tree_.visuals.push_back(std::move(pixels));
  }

  void restart_positions(std::int64_t next) { positions_.go_on_at(next); }
  std::int64_t next_position() const { return positions_.next(); }

 private:
  void placeholders(const Visual& visual, std::int64_t token, std::size_t first_step,
                    std::int64_t steps, std::int64_t step) {
    const int factor = encoder_.options_.images.patch * encoder_.options_.images.merge;
    const std::int64_t rows = visual.pixels->height / factor,
                       columns = visual.pixels->width / factor;
    const auto of_step = static_cast<std::size_t>(rows * columns),
               count = of_step * static_cast<std::size_t>(steps);
    tree_.visual_runs.push_back(
        {tree_.tokens.size(), tree_.visuals.size(), first_step * of_step, count});
    tree_.tokens.insert(tree_.tokens.end(), count, token);
    positions_.visual(rows, columns, steps, step);
  }

  const TreeEncoder& encoder_;
  TokenTree& tree_;
  MropePositions positions_;
  std::string pending_;
};

namespace {

// All that decides how a medium becomes pixels.
std::string rules_of(const MediaStore& media, const TreeEncoder::Options& options) {
  const ImageProcessorConfig& images = options.images;
  std::string rules = fmt::format("{} {} | {} {} {} {} {} | {} {}", fmt::ptr(&media),
                                  static_cast<int>(options.family), images.patch, images.merge,
                                  images.temporal, images.min_pixels, images.max_pixels,
                                  options.image_min_pixels, options.image_max_pixels);
  if (options.videos) {
    const VideoOptions& videos = *options.videos;
    rules += fmt::format(
        " | {} {} {} {} {} {} {} {} {} {} {}", static_cast<int>(videos.sampling.rule),
        videos.sampling.fps, videos.sampling.min_frames, videos.sampling.max_frames,
        videos.limits.min_pixels, videos.limits.max_pixels, videos.min_pixels, videos.max_pixels,
        videos.nominal_rate, videos.tokens_per_second, videos.max_bytes);
  }
  return rules;
}

}  // namespace

TreeEncoder::TreeEncoder(const Tokenizer& tokenizer, MediaStore& media, const Options& options)
    : tokenizer_(tokenizer),
      media_(media),
      options_(options),
      cache_(VisualCache::shared(rules_of(media, options), options.cache_bytes)) {}

Visual TreeEncoder::prepared_image(const Media& media) const {
  DecodedImage decoded = media_.decode(media);
  if (decoded.status != Status::ok) return {decoded.status, nullptr, {}, 0, decoded.detail};
  try {
    auto pixels = std::make_shared<PreparedVisual>(
        prepare_image(std::move(decoded.image), options_.images, options_.image_min_pixels,
                      options_.image_max_pixels));
    return {Status::ok, std::move(pixels), {}, 0, ""};
  } catch (const DataError& error) {
    return {Status::invalid, nullptr, {}, 0, error.what()};
  }
}

Visual TreeEncoder::prepared_video(const Media& media) const {
  const VideoOptions& videos = *options_.videos;
  const int temporal = options_.images.temporal,
            factor = options_.images.patch * options_.images.merge;
  const bool llamafactory = videos.sampling.rule == VideoSampling::Rule::llamafactory;
  auto pixels = std::make_shared<PreparedVisual>();
  std::vector<Size> limited;
  Size frame_size, final;
  std::size_t wanted = 0;
  bool unusable = false;  // a DataError that is ours, not the file's
  const auto refuse = [&](const std::string& why) {
    unusable = true;
    throw DataError(why);
  };
  VideoReading reading;
  reading.choose = [&](const VideoInfo& info) {
    pixels->rgb.clear();
    pixels->frames = 0;
    std::vector<std::int64_t> chosen;
    try {
      chosen = sample_frames(info, videos.sampling, options_.family);
    } catch (const DataError& error) {
      refuse(error.what());
    }
    wanted = chosen.size();
    return chosen;
  };
  reading.take = [&](Image frame) {
    if (pixels->frames == 0) {
      frame_size = {frame.width, frame.height};
      try {
        limited = limit_resize(frame_size, videos.min_pixels, videos.max_pixels);
        // LLaMA-Factory repeats the last frame before the processor counts them.
        const std::size_t counted = llamafactory ? wanted + wanted % 2 : wanted;
        final = video_resize(limited.empty() ? frame_size : limited.back(),
                             static_cast<std::int64_t>(counted), options_.family, options_.images,
                             videos.limits);
      } catch (const DataError& error) {
        refuse(error.what());
      }
      const std::size_t bytes = wanted * static_cast<std::size_t>(final.width) *
                                static_cast<std::size_t>(final.height) * 3;
      if (bytes > videos.max_bytes)
        refuse(fmt::format("{} frames of {}x{} pixels need more than the {} MiB allowed", wanted,
                           final.width, final.height, videos.max_bytes >> 20));
      pixels->rgb.reserve(bytes);
    } else if (frame_size != Size{frame.width, frame.height}) {
      refuse("its frames differ in size");
    }
    const Image resized = resize_all(std::move(frame), limited, final);
    pixels->rgb.insert(pixels->rgb.end(), resized.rgb.begin(), resized.rgb.end());
    ++pixels->frames;
  };
  const DecodedVideo decoded = media_.decode_video(media, reading);
  if (decoded.status != Status::ok)
    return {unusable ? Status::invalid : decoded.status, nullptr, {}, 0, decoded.detail};
  Visual visual;
  visual.status = Status::ok;
  visual.times = step_times(decoded.chosen, decoded.info.fps, videos.sampling, temporal);
  const double rate = videos.nominal_rate || decoded.info.fps <= 0
                          ? videos.sampling.fps
                          : static_cast<double>(decoded.chosen.size()) / decoded.info.seconds;
  visual.seconds_per_step = temporal / rate;
  pixels->width = final.width;
  pixels->height = final.height;
  pixels->tokens =
      (final.width / factor) * (final.height / factor) * static_cast<int>(visual.times.size());
  visual.pixels = std::move(pixels);
  return visual;
}

std::shared_ptr<const Visual> TreeEncoder::visual(const Segment& segment) {
  const Media& media = *segment.media;
  const char* kind = segment.video ? "video" : "image";
  if (segment.video && !options_.videos)
    throw Unusable{Status::invalid, "this backbone does not see videos"};
  if (!media.present())
    throw Unusable{Status::missing_media, fmt::format("{} '{}' is absent", kind, media.source)};
  std::string key = segment.video ? "v" : "i";
  key += media.id;
  if (media.id.empty())
    for (const std::string& frame : media.frames) key += frame;
  auto made = cache_->get(
      key, [&] { return segment.video ? prepared_video(media) : prepared_image(media); });
  if (made->status != Status::ok)
    throw Unusable{made->status, fmt::format("{} '{}': {}", kind, media.source, made->detail)};
  return made;
}

EncodedTree TreeEncoder::encode_tree(const Prompt& prompt,
                                     std::span<const std::string_view> responses) {
  if (std::none_of(prompt.messages.begin(), prompt.messages.end(),
                   [](const Message& message) { return message.role == Message::Role::user; }))
    throw Unusable{Status::invalid, "the prompt has no user message"};
  EncodedTree result;
  TokenTree& tree = result.tree;
  Builder builder(*this, tree);
  for (const Segment& segment : render_prompt(prompt, options_.form)) {
    if (!segment.media) {
      if (segment.apart) builder.flush();
      builder.text(segment.text);
      continue;
    }
    const auto found = visual(segment);
    if (segment.video)
      builder.video(*found);
    else
      builder.image(*found);
    builder.keep(found->pixels);
  }

  std::vector<std::vector<std::int64_t>> branches;
  if (options_.form.whole) {
    const std::vector<std::int64_t> alone = builder.ids(builder.pending());
    std::size_t shared = alone.size();
    for (const std::string_view response : responses) {
      std::string text = builder.pending();
      for (const std::string& part : render_response(response, options_.form)) text += part;
      branches.push_back(builder.ids(text));
      shared = std::min(shared, common(alone, branches.back()));
    }
    builder.append(std::span(alone).first(shared));
    for (auto& branch : branches)
      branch.erase(branch.begin(), branch.begin() + static_cast<std::ptrdiff_t>(shared));
  } else {
    builder.flush();
    for (const std::string_view response : responses) {
      branches.emplace_back();
      for (const std::string& part : render_response(response, options_.form)) {
        const std::vector<std::int64_t> ids = builder.ids(part);
        branches.back().insert(branches.back().end(), ids.begin(), ids.end());
      }
    }
  }

  std::size_t longest = 0;
  for (const auto& branch : branches) longest = std::max(longest, branch.size());
  tree.prefix = tree.tokens.size();
  std::size_t room = longest;
  if (options_.cutoff > 0) {
    const auto [source, target] = share_cutoff(tree.prefix, longest, options_.cutoff);
    if (!tree.visual_runs.empty() &&
        source < tree.visual_runs.back().begin + tree.visual_runs.back().count)
      throw Unusable{
          Status::truncated,
          fmt::format(
              "the prompt has {} tokens; cut at {} it would lose a part of an image or video",
              tree.prefix, source)};
    result.cut = source < tree.prefix || target < longest;
    if (source < tree.prefix) {
      tree.tokens.resize(source);
      tree.positions.resize(source);
      tree.prefix = source;
      std::int64_t next = 0;
      for (const auto& position : tree.positions)
        next = std::max({next, position[0] + 1, position[1] + 1, position[2] + 1});
      builder.restart_positions(next);
    }
    room = target;
  }
  const std::int64_t after_prompt = builder.next_position();
  for (std::vector<std::int64_t>& branch : branches) {
    branch.resize(std::min(branch.size(), room));
    builder.restart_positions(after_prompt);
    builder.append(branch);
    tree.branch_ends.push_back(tree.tokens.size());
  }
  result.status = Status::ok;
  return result;
}

EncodedTree TreeEncoder::encode(const Prompt& prompt, std::span<const std::string_view> responses) {
  EncodedTree result;
  try {
    result = encode_tree(prompt, responses);
  } catch (const Unusable& why) {
    result.status = why.status;
    result.detail = why.detail;
  }
  switch (result.status) {
    case Status::ok: ++ok_; break;
    case Status::truncated: ++truncated_; break;
    case Status::missing_media: ++missing_; break;
    default: ++invalid_;
  }
  if (result.cut) ++cut_;
  return result;
}

std::vector<EncodedTree> TreeEncoder::encode_all(std::span<const Request> requests,
                                                 unsigned threads) {
  std::vector<EncodedTree> trees(requests.size());
  parallel_for(requests.size(), threads, [&](std::size_t i) {
    trees[i] = encode(*requests[i].prompt, requests[i].responses);
  });
  return trees;
}

TreeEncoder::Counts TreeEncoder::counts() const {
  return {ok_, cut_, truncated_, missing_, invalid_};
}

}  // namespace dt2it::nn
