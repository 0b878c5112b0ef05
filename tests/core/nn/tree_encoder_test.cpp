// SPDX-License-Identifier: Apache-2.0
#include "core/nn/tree_encoder.hpp"

#include <set>
#include <thread>

#include "dt2it/rng.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/core/nn/golden_media.hpp"

using namespace dt2it;
using namespace dt2it::nn;
using namespace dt2it::testing;
namespace dom = simdjson::dom;

namespace {

constexpr std::int64_t kImage = 1012, kVideo = 1013;

// A store whose videos are the reference's five frames of a clip of 243 frames at 25 a second.
class ClipStore final : public MediaStore {
 public:
  ClipStore(MediaStore& store, std::vector<Media> frames)
      : store_(store), frames_(std::move(frames)) {}
  Media put(std::span<const std::uint8_t> bytes, std::string_view source) override {
    return store_.put(bytes, source);
  }
  Media put_file(const std::filesystem::path& path, std::string_view source) override {
    return store_.put_file(path, source);
  }
  Bytes bytes(const Media& media) override { return store_.bytes(media); }
  Media put_image(const Image& image, std::string_view source) override {
    return store_.put_image(image, source);
  }
  DecodedImage decode(const Media& media) override {
    ++decoded;
    return store_.decode(media);
  }
  DecodedVideo decode_video(const Media&, const VideoReading& reading) override {
    const VideoInfo info{243, 25, 9.72, 96, 54};
    DecodedVideo result{Status::ok, info, reading.choose(info), ""};
    CHECK(result.chosen == std::vector<std::int64_t>{0, 60, 121, 181, 242});
    for (const Media& frame : frames_) reading.take(store_.decode(frame).image);
    return result;
  }
  std::atomic<int> decoded{0};

 private:
  MediaStore& store_;
  std::vector<Media> frames_;
};

struct Fixture {
  explicit Fixture(Family family, std::string_view form = "llamafactory",
                   std::string_view name = {})
      : model(golden_folder() / "models" /
              (family == Family::qwen3_vl ? "qwen3_vl" : "qwen2_5_vl")),
        tokenizer(model / "tokenizer.json"),
        clip(media.store, clip_frames()) {
    options.form = chat_template_named(!name.empty()                ? name
                                       : family == Family::qwen3_vl ? "qwen3_vl_nothink"
                                                                    : "qwen2_vl",
                                       form);
    options.family = family;
    options.image_token = kImage;
    options.images = ImageProcessorConfig::read(model / "preprocessor_config.json");
    options.videos.emplace();
    options.videos->token = kVideo;
    options.videos->limits = VideoLimits::read(model, options.images);
    options.videos->sampling.max_frames = 5;
    options.videos->nominal_rate = true;
  }
  std::vector<Media> clip_frames() {
    std::vector<Media> frames;
    for (const char* number : {"000", "060", "121", "181", "242"})
      frames.push_back(media.put("images/video/frame" + std::string(number) + ".png"));
    return frames;
  }
  TreeEncoder encoder() { return TreeEncoder(tokenizer, clip, options); }

  std::filesystem::path model;
  Tokenizer tokenizer;
  GoldenMedia media;
  ClipStore clip;
  TreeEncoder::Options options;
};

Message user(std::string text) { return {Message::Role::user, {Part::of_text(std::move(text))}}; }

Prompt asking(std::string text) {
  Prompt prompt;
  prompt.messages.push_back(user(std::move(text)));
  return prompt;
}

EncodedTree encode(TreeEncoder& encoder, const Prompt& prompt,
                   std::initializer_list<std::string_view> responses) {
  return encoder.encode(prompt, std::vector(responses));
}

// The ids of one branch as a whole.
std::vector<std::int64_t> whole(const TokenTree& tree, std::size_t branch) {
  std::vector<std::int64_t> ids(tree.tokens.begin(),
                                tree.tokens.begin() + static_cast<std::ptrdiff_t>(tree.prefix));
  ids.insert(ids.end(),
             tree.tokens.begin() + static_cast<std::ptrdiff_t>(tree.branch_begin(branch)),
             tree.tokens.begin() + static_cast<std::ptrdiff_t>(tree.branch_ends[branch]));
  return ids;
}

std::string text_of(const dom::element& message) {
  std::string text;
  for (const auto part : dom::array(message["content"])) text += std::string_view(part["text"]);
  return text;
}

}  // namespace

TEST_CASE("Ids, positions and pixels of every reference conversation") {
  if (golden_absent()) return;
  std::size_t conversations = 0, with_video = 0;
  for (const auto& [family, name] :
       {std::pair{Family::qwen2_5_vl, "qwen2_5_vl"}, {Family::qwen3_vl, "qwen3_vl"}})
    for (const char* form : {"llamafactory", "huggingface"}) {
      Fixture fixture(family, form);
      TreeEncoder encoder = fixture.encoder();
      dom::parser parser;
      const dom::element cases =
          parser.load((golden_folder() / "forward" / name / "cases.json").string())["cases"];
      for (const auto& [case_view, record] : dom::object(cases)) {
        const std::string case_name(case_view);
        const GoldenTensors tensors(golden_folder() / "forward" / name /
                                    (case_name + ".safetensors"));
        const auto ids = tensors.values<std::int64_t>("input_ids"),
                   mask = tensors.values<std::int64_t>("attention_mask"),
                   positions = tensors.values<std::int64_t>("position_ids");
        const auto rows = static_cast<std::size_t>(tensors.shape("input_ids")[0]),
                   length = ids.size() / rows;
        std::size_t row = 0, image_floats = 0, video_floats = 0;
        std::vector<float> images, videos;
        if (tensors.has("pixel_values")) images = tensors.values<float>("pixel_values");
        if (tensors.has("pixel_values_videos"))
          videos = tensors.values<float>("pixel_values_videos");
        for (const auto conversation : dom::array(record["conversations"])) {
          CAPTURE(name, form, case_name, row);
          Prompt prompt;
          std::string response;
          for (const auto message : dom::array(conversation)) {
            const std::string_view role = message["role"];
            Message& added = prompt.messages.emplace_back();
            added.role = role == "user"     ? Message::Role::user
                         : role == "system" ? Message::Role::system
                                            : Message::Role::assistant;
            std::string_view plain;
            if (!message["content"].get(plain)) {
              added.content.push_back(Part::of_text(std::string(plain)));
              continue;
            }
            for (const auto part : dom::array(message["content"])) {
              const std::string_view type = part["type"];
              if (type == "text") {
                added.content.push_back(Part::of_text(std::string(std::string_view(part["text"]))));
              } else if (type == "image") {
                const std::string file =
                    "images/model/" + std::string(std::string_view(part["image"])) + ".png";
                added.content.push_back(Part::of_image(fixture.media.put(file)));
              } else {
                Media media;
                media.kind = Media::Kind::video;
                media.id = "clip";
                added.content.push_back({Part::Kind::video, {}, media});
                ++with_video;
              }
            }
            if (role == "assistant") response = text_of(message);
          }
          prompt.messages.pop_back();
          const EncodedTree encoded = encode(encoder, prompt, {response});
          INFO(encoded.detail);
          REQUIRE(encoded.status == Status::ok);
          const TokenTree& tree = encoded.tree;
          std::vector<std::int64_t> expected;
          std::vector<std::array<std::int64_t, 3>> expected_positions;
          for (std::size_t i = 0; i < length; ++i) {
            if (mask[row * length + i] == 0) continue;
            expected.push_back(ids[row * length + i]);
            const std::size_t at = row * length + i, plane = rows * length;
            expected_positions.push_back(
                {positions[at], positions[plane + at], positions[2 * plane + at]});
          }
          CHECK(whole(tree, 0) == expected);
          CHECK(tree.positions == expected_positions);
          std::set<std::size_t> seen;
          for (const VisualRun& run : tree.visual_runs) {
            const bool video = tree.tokens[run.begin] == kVideo;
            for (std::size_t i = 0; i < run.count; ++i)
              REQUIRE(tree.tokens[run.begin + i] == (video ? kVideo : kImage));
            if (!seen.insert(run.visual).second) continue;
            const PreparedVisual& visual = *tree.visuals[run.visual];
            CHECK(visual.frames == (video ? 5 : 1));
            std::vector<float> patches(
                static_cast<std::size_t>(patch_count(visual, fixture.options.images) *
                                         fixture.options.images.patch_length()));
            write_patches(visual, fixture.options.images, patches.data());
            const std::vector<float>& theirs = video ? videos : images;
            std::size_t& used = video ? video_floats : image_floats;
            REQUIRE(used + patches.size() <= theirs.size());
            bool same = true;
            for (std::size_t i = 0; i < patches.size(); ++i)
              same = same && std::abs(patches[i] - theirs[used + i]) <= 1e-6f;
            CHECK(same);
            used += patches.size();
          }
          ++conversations;
          ++row;
        }
        CHECK(row == rows);
        CHECK(image_floats == images.size());
        CHECK(video_floats == videos.size());
      }
    }
  CHECK(conversations == 2 * 2 * 16);
  CHECK(with_video == 2 * 2 * 2);
}

TEST_CASE("LLaMA-Factory's form: a response is tokenised by itself") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl);
  TreeEncoder encoder = fixture.encoder();
  for (const std::string_view response : {"\n\nYes.", " Yes.", "Yes.", ""}) {
    const EncodedTree encoded = encode(encoder, asking("Is it?"), {response});
    std::vector<std::int64_t> expected =
        fixture.tokenizer.encode("<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n");
    CHECK(encoded.tree.prefix == expected.size());
    for (const auto id : fixture.tokenizer.encode(std::string(response) + "<|im_end|>\n"))
      expected.push_back(id);
    CHECK(encoded.tree.tokens == expected);
  }
  // A turn of the conversation too.
  Prompt prompt = asking("a");
  prompt.messages.push_back({Message::Role::assistant, {Part::of_text("\nb")}});
  prompt.messages.push_back(user("c"));
  std::vector<std::int64_t> expected;
  for (const char* text :
       {"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n", "\nb<|im_end|>\n",
        "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n"})
    for (const auto id : fixture.tokenizer.encode(text)) expected.push_back(id);
  CHECK(encode(encoder, prompt, {}).tree.tokens == expected);
}

TEST_CASE("Hugging Face's form: each branch has the ids of its whole text") {
  if (golden_absent()) return;
  for (const Family family : {Family::qwen2_5_vl, Family::qwen3_vl}) {
    Fixture fixture(family, "huggingface");
    TreeEncoder encoder = fixture.encoder();
    const std::string system = family == Family::qwen2_5_vl
                                   ? "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                                   : "";
    const std::string before =
        system + "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n";
    const std::vector<std::string_view> responses = {"Yes.",   "\n\nYes.", " \n Yes.", " Yes.", "",
                                                     "\r\nNo", "\tNo",     "e\u0301",  "\u0301"};
    const std::size_t plain = fixture.tokenizer.encode(before).size();
    std::size_t fell_back = 0;
    for (std::size_t first = 0; first < responses.size(); ++first)
      for (std::size_t second = 0; second < responses.size(); ++second) {
        const EncodedTree encoded =
            encode(encoder, asking("Is it?"), {responses[first], responses[second]});
        REQUIRE(encoded.status == Status::ok);
        const TokenTree& tree = encoded.tree;
        for (const std::size_t branch : {0, 1}) {
          const std::string text =
              before + std::string(responses[branch ? second : first]) + "<|im_end|>\n";
          CAPTURE(text);
          CHECK(whole(tree, branch) == fixture.tokenizer.encode(text));
          CHECK(tree.positions[tree.branch_begin(branch)][0] ==
                static_cast<std::int64_t>(tree.prefix));
        }
        CHECK(tree.prefix <= plain);
        CHECK(tree.prefix + 2 >=
              plain);  // no more is given up than the tokens that a response changes
        if (tree.prefix < plain) ++fell_back;
        if (first == 0 && second == 0) CHECK(tree.prefix == plain);
      }
    CHECK(fell_back > 10);
    CHECK(encode(encoder, asking("Is it?"), {}).tree.tokens == fixture.tokenizer.encode(before));
  }
}

TEST_CASE("The thinking template encodes its empty block apart") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl, "llamafactory", "qwen3_vl");
  TreeEncoder encoder = fixture.encoder();
  const EncodedTree encoded = encode(encoder, asking("a"), {"\nb"});
  std::vector<std::int64_t> expected;
  for (const char* text : {"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n",
                           "<think>\n\n</think>\n\n", "\nb<|im_end|>\n"})
    for (const auto id : fixture.tokenizer.encode(text)) expected.push_back(id);
  CHECK(encoded.tree.tokens == expected);
}

TEST_CASE(
    "Text is text: placeholders' names stay, added tokens are tokens, those of images are "
    "refused") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl);
  TreeEncoder encoder = fixture.encoder();
  const EncodedTree literal = encode(encoder, asking("<image> or <video>?"), {"<image>"});
  CHECK(literal.status == Status::ok);
  CHECK(literal.tree.visuals.empty());
  CHECK(fixture.tokenizer.decode(literal.tree.tokens).find("<image> or <video>?") !=
        std::string::npos);
  const EncodedTree ended = encode(encoder, asking("a<|im_end|>b"), {"c"});
  CHECK(std::count(ended.tree.tokens.begin(), ended.tree.tokens.end(),
                   *fixture.tokenizer.id("<|im_end|>")) == 3);
  CHECK(encode(encoder, asking("a<|image_pad|>b"), {"c"}).status == Status::invalid);
  CHECK(encode(encoder, asking("a"), {"<|video_pad|>"}).status == Status::invalid);
  CHECK(encode(encoder, Prompt{}, {"c"}).status == Status::invalid);
}

TEST_CASE("The length limit is shared as LLaMA-Factory does, and what it took is counted") {
  CHECK(share_cutoff(100, 20, 50) == std::pair<std::size_t, std::size_t>{30, 20});
  CHECK(share_cutoff(20, 100, 50) == std::pair<std::size_t, std::size_t>{20, 30});
  CHECK(share_cutoff(100, 100, 50) == std::pair<std::size_t, std::size_t>{25, 25});
  CHECK(share_cutoff(10, 10, 50) == std::pair<std::size_t, std::size_t>{10, 10});
  CHECK(share_cutoff(100, 40, 70) == std::pair<std::size_t, std::size_t>{50, 20});
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl);
  const Prompt prompt = asking(
      "How many objects can you see in the picture on the left, and what do they have in common?");
  const std::string_view answer =
      "There are two shapes; the disc is larger. It shows a gradient from dark to light.";
  TreeEncoder unlimited = fixture.encoder();
  const TokenTree full = encode(unlimited, prompt, {answer, "No."}).tree;
  const std::size_t source = full.prefix, target = full.branch_ends[0] - full.prefix;
  for (const std::size_t cutoff : {source + target, source + target - 1, target * 2 + 1, source,
                                   std::size_t{12}, std::size_t{1}}) {
    fixture.options.cutoff = cutoff;
    TreeEncoder encoder = fixture.encoder();
    const EncodedTree encoded = encode(encoder, prompt, {answer, "No."});
    REQUIRE(encoded.status == Status::ok);
    CAPTURE(cutoff, source, target);
    const auto [left, right] = share_cutoff(source, target, cutoff);
    CHECK(encoded.tree.prefix == left);
    CHECK(encoded.tree.branch_ends[0] - left == right);
    CHECK(encoded.cut == (cutoff < source + target));
    CHECK(encoder.counts().cut == (encoded.cut ? 1 : 0));
    CHECK(std::equal(encoded.tree.tokens.begin(),
                     encoded.tree.tokens.begin() + static_cast<std::ptrdiff_t>(left),
                     full.tokens.begin()));
  }
  // An image is never cut.
  Prompt seen = asking("What?");
  seen.messages[0].content.push_back(
      Part::of_image(fixture.media.put("images/model/qwen3_vl_wide.png")));
  fixture.options.cutoff = 14;
  TreeEncoder encoder = fixture.encoder();
  CHECK(encode(encoder, seen, {"No."}).status == Status::truncated);
  CHECK(encoder.counts().truncated == 1);
}

TEST_CASE("Videos: a folder of frames, one rate or the other, and what cannot be used") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen2_5_vl);
  fixture.options.videos->sampling.fps = 1;
  Media folder;
  folder.kind = Media::Kind::video;
  for (const Media& frame : fixture.clip_frames()) folder.frames.push_back(frame.id);
  folder.frames.push_back(folder.frames.front());
  folder.frames.push_back(folder.frames.front());
  Prompt prompt = asking("What happens?");
  prompt.messages[0].content.insert(prompt.messages[0].content.begin(),
                                    {Part::Kind::video, {}, folder});
  TreeEncoder encoder(fixture.tokenizer, fixture.media.store, fixture.options);
  const EncodedTree encoded = encode(encoder, prompt, {"It rains."});
  REQUIRE(encoded.status == Status::ok);
  REQUIRE(encoded.tree.visuals.size() == 1);
  const PreparedVisual& video = *encoded.tree.visuals[0];
  CHECK(video.frames == 7);  // the limit on frames is for files
  REQUIRE(encoded.tree.visual_runs.size() == 1);
  const VisualRun run = encoded.tree.visual_runs[0];
  CHECK(run.count == static_cast<std::size_t>(video.tokens));
  const std::size_t step = run.count / 4;
  CHECK(encoded.tree.positions[run.begin + step][0] - encoded.tree.positions[run.begin][0] ==
        4);  // 2 s, twice a second

  fixture.options.videos->max_bytes = 1000;
  TreeEncoder small(fixture.tokenizer, fixture.media.store, fixture.options);
  CHECK(encode(small, prompt, {"No."}).status == Status::invalid);
  prompt.messages[0].content[0].media.frames[2] = fixture.media.put("images/photo.jpg").id;
  CHECK_THAT(encode(encoder, prompt, {"No."}).detail, Catch::Contains("differ in size"));
  prompt.messages[0].content[0].media.frames[2] = std::string(64, '0');
  CHECK(encode(encoder, prompt, {"No."}).status == Status::missing_media);
  prompt.messages[0].content[0].media.frames.clear();
  CHECK(encode(encoder, prompt, {"No."}).status == Status::missing_media);
  fixture.options.videos.reset();
  TreeEncoder blind(fixture.tokenizer, fixture.media.store, fixture.options);
  CHECK(encode(blind, prompt, {"No."}).status == Status::invalid);
  const TreeEncoder::Counts counts = encoder.counts();
  CHECK(counts.ok == 1);
  CHECK(counts.invalid == 1);
  CHECK(counts.missing_media == 2);
}

TEST_CASE(
    "The clip itself: the frames that the reference drew from it, within what its reader's "
    "conversion allows") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl);
  Prompt prompt = asking("What happens?");
  Media clip = fixture.media.put("data/mllm_demo/1.mp4");
  CHECK(clip.kind == Media::Kind::video);
  prompt.messages[0].content.insert(prompt.messages[0].content.begin(),
                                    {Part::Kind::video, {}, clip});
  TreeEncoder encoder(fixture.tokenizer, fixture.media.store, fixture.options);
  const EncodedTree encoded = encode(encoder, prompt, {"It rains."});
  INFO(encoded.detail);
  REQUIRE(encoded.status == Status::ok);
  CHECK(encoded.tree.visual_runs.size() == 3);
  CHECK(encoded.tree.visuals[0]->frames == 5);
  const std::string text = fixture.tokenizer.decode(encoded.tree.tokens);
  for (const char* time : {"<1.2 seconds>", "<6.0 seconds>", "<9.7 seconds>"})
    CHECK(text.find(time) != std::string::npos);
}

TEST_CASE("Many threads: the trees of one thread, each picture decoded once") {
  if (golden_absent()) return;
  Fixture fixture(Family::qwen3_vl);
  std::vector<Prompt> prompts;
  for (int i = 0; i < 60; ++i) {
    Prompt& prompt = prompts.emplace_back(asking("Picture " + std::to_string(i % 7) + "?"));
    const char* files[] = {"small", "odd", "left", "right", "wide"};
    prompt.messages[0].content.push_back(Part::of_image(
        fixture.media.put("images/model/qwen3_vl_" + std::string(files[i % 5]) + ".png")));
  }
  std::vector<TreeEncoder::Request> requests;
  for (const Prompt& prompt : prompts) requests.push_back({&prompt, {"Yes.", "No, it is not."}});
  TreeEncoder encoder = fixture.encoder();
  const auto together = encoder.encode_all(requests, 4);
  CHECK(fixture.clip.decoded == 5);
  TreeEncoder alone = fixture.encoder();
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const EncodedTree one = alone.encode(prompts[i], requests[i].responses);
    REQUIRE(one.status == Status::ok);
    REQUIRE(together[i].tree.tokens == one.tree.tokens);
    REQUIRE(together[i].tree.visuals[0]->rgb == one.tree.visuals[0]->rgb);
  }
  CHECK(together[0].tree.visuals[0] ==
        together[5].tree.visuals[0]);  // the same object: the tower sees it once
  CHECK(encoder.counts().ok == 60);

  // Without room, pictures come and go; results stay.
  fixture.options.cache_bytes = 1;
  TreeEncoder poor = fixture.encoder();
  const auto again = poor.encode_all(requests, 3);
  for (std::size_t i = 0; i < requests.size(); ++i)
    REQUIRE(again[i].tree.visuals[0]->rgb == together[i].tree.visuals[0]->rgb);
}
