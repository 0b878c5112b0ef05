// SPDX-License-Identifier: Apache-2.0
#include <bit>
#include <catch2/catch.hpp>
#include <ctime>
#include <opencv2/core.hpp>
#include <opencv2/imgcodecs.hpp>
#include <opencv2/imgproc.hpp>
#include <set>

#include "dt2it/benchmark.hpp"
#include "dt2it/dataset.hpp"
#include "dt2it/error.hpp"
#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "plugins/curators/decontaminate/decontaminate_curator.hpp"
#include "plugins/curators/decontaminate/image_hash.hpp"
#include "plugins/curators/decontaminate/image_index.hpp"
#include "plugins/curators/decontaminate/question_text.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using Catch::Matchers::Contains;

namespace {

// Rectangles and discs of their own for each seed.
cv::Mat drawn(int seed, int width = 320, int height = 240) {
  Rng rng(static_cast<std::uint64_t>(seed));
  cv::Mat image(height, width, CV_8UC3,
                cv::Scalar(rng.integer(0, 255), rng.integer(0, 255), rng.integer(0, 255)));
  for (int i = 0; i < 12; ++i) {
    const cv::Scalar color(rng.integer(0, 255), rng.integer(0, 255), rng.integer(0, 255));
    const cv::Point at(rng.integer(0, width), rng.integer(0, height));
    if (rng.chance(0.5))
      cv::circle(image, at, rng.integer(10, height / 3), color, cv::FILLED);
    else
      cv::rectangle(image,
                    cv::Rect(at, cv::Size(rng.integer(10, width / 2), rng.integer(10, height / 2))),
                    color, cv::FILLED);
  }
  return image;
}

Bytes encoded(const cv::Mat& image, const char* type, int quality = 90) {
  Bytes bytes;
  cv::imencode(type, image, bytes, {cv::IMWRITE_JPEG_QUALITY, quality});
  return bytes;
}

std::uint64_t hash_of(const Bytes& bytes, const cv::Mat& image) {
  const auto hash = perceptual_hash(bytes, image.cols, image.rows);
  REQUIRE(hash);
  return *hash;
}

PreferencePair pair_of(const std::string& id, const std::string& question, const Media& image) {
  PreferencePair pair;
  pair.id = id;
  pair.source = "set";
  pair.prompt.id = id;
  pair.prompt.source = "set";
  pair.prompt.messages = {{Message::Role::user, {Part::of_image(image), Part::of_text(question)}}};
  pair.chosen.text = "yes";
  pair.rejected.text = "no";
  return pair;
}

class FixedBenchmark final : public Benchmark {
 public:
  std::vector<PreferencePair> pairs;
  std::unique_ptr<Stream<PreferencePair>> items() override {
    struct Given final : Stream<PreferencePair> {
      explicit Given(const std::vector<PreferencePair>& all) : all(all) {}
      bool next(PreferencePair& pair) override {
        return at < all.size() ? (pair = all[at++], true) : false;
      }
      const std::vector<PreferencePair>& all;
      std::size_t at = 0;
    };
    return std::make_unique<Given>(pairs);
  }
  std::vector<Metric> summarise(std::span<const Outcome>) override { return {}; }
  std::string edition(std::span<const Outcome>) override { return {}; }
};

}  // namespace

TEST_CASE("The index finds exactly what a look at every image finds") {
  Rng rng(5);
  std::vector<std::uint64_t> hashes;
  ImageIndex index;
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    std::uint64_t hash = rng.next();
    if (i > 0 && rng.chance(0.5)) {  // near to an earlier one
      hash = hashes[rng.below(hashes.size())];
      for (int flips = rng.integer(0, 14); flips-- > 0;) hash ^= std::uint64_t{1} << rng.below(64);
    }
    hashes.push_back(hash);
    index.add(i / 2, hash);  // every content twice
  }
  index.build();
  for (const int radius : {0, 3, 8, 12})
    for (int query = 0; query < 50; ++query) {
      const std::uint64_t hash =
          hashes[rng.below(hashes.size())] ^ (std::uint64_t{1} << rng.below(64));
      std::set<std::pair<std::uint32_t, int>> expected, found;
      for (std::uint32_t i = 0; i < hashes.size(); ++i)
        if (const int distance = std::popcount(hashes[i] ^ hash); distance <= radius)
          expected.insert({i, distance});
      const auto hits = index.find(~std::uint64_t{0}, hash, radius);
      for (const auto& hit : hits) found.insert({hit.image, hit.distance});
      CHECK(found == expected);
      CHECK(found.size() == hits.size());
    }
  const auto exact = index.find(77, rng.next(), -1);
  REQUIRE(exact.size() == 2);
  CHECK(exact[0].exact);
  CHECK(exact[0].image == 154);
  CHECK(index.find(1, 1, 8).size() >= 2);
  CHECK(ImageIndex().size() == 0);
  ImageIndex empty;
  empty.build();
  CHECK(empty.find(1, 1, 8).empty());
}

TEST_CASE("The hash of an image survives its type, its size and light, and tells images apart") {
  std::vector<std::uint64_t> all;
  for (int seed = 0; seed < 30; ++seed) {
    const cv::Mat image = drawn(seed, 900, 600);
    const std::uint64_t hash = hash_of(encoded(image, ".png"), image);
    const auto near = [&](const cv::Mat& changed, const char* type, int quality = 90) {
      return std::popcount(hash ^ hash_of(encoded(changed, type, quality), changed));
    };
    CHECK(near(image, ".jpg", 60) <= 2);
    cv::Mat bright;
    for (const double scale :
         {0.1, 0.3, 0.47, 0.78, 1.3}) {  // decoded by 1, 2, 4 and 8, with whole and cut blocks
      cv::Mat scaled;
      cv::resize(image, scaled, {}, scale, scale, scale < 1 ? cv::INTER_AREA : cv::INTER_LINEAR);
      CAPTURE(seed, scale);
      CHECK(near(scaled, ".png") <= 2);
      CHECK(near(scaled, ".jpg", 80) <= 2);
      CHECK(near(scaled, ".webp", 80) <= 2);
    }
    image.convertTo(bright, -1, 0.85, 15);
    CHECK(near(bright, ".png") <= 8);
    all.push_back(hash);
  }
  int too_near = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = i + 1; j < all.size(); ++j)
      too_near += std::popcount(all[i] ^ all[j]) <= 8;
  CHECK(too_near == 0);
  const cv::Mat plain(100, 100, CV_8UC3, cv::Scalar(9, 9, 9));
  CHECK_FALSE(perceptual_hash(encoded(plain, ".png"), 100, 100));
  CHECK_FALSE(perceptual_hash(Bytes{1, 2, 3}, 100, 100));
  CHECK_FALSE(perceptual_hash(encoded(drawn(1), ".png"), 50'000, 50'000));  // never decoded
}

TEST_CASE("Questions overlap by rows of words, whatever their case, signs and widths") {
  CHECK(question_words("What's THE  ＣＡＦÉ, no. 5?") ==
        std::vector<std::string>{"what", "s", "the", "café", "no", "5"});
  CHECK(question_words("图中有2只猫?").size() == 6);
  CHECK(question_words("\xff\xfe broken").size() == 2);
  const auto key = [](std::string_view text) { return question_key(text, 5); };
  const QuestionKey item = key("How many red cars stand in front of the old house on the left?");
  CHECK(containment(item, key("how many RED cars stand in front of the old house on the left")) ==
        1);
  CHECK(containment(item, key("Look. How many red cars stand in front of the old house on the "
                              "left? Answer with a number.")) == 1);
  CHECK(containment(item, key("How many red cars stand in front of the new shop?")) ==
        Approx(5.0 / 10));
  CHECK(containment(item, key("What colour is the sky in this picture of a house?")) == 0);
  CHECK(containment(key("What is this?"), key("What is this?")) == 1);
  CHECK(containment(key("What is this?"), key("What is this thing that stands there?")) == 0);
  CHECK(containment(key("??"), key("!!")) == 0);
}

TEST_CASE("Only the image and the question together are a leak, each with its evidence") {
  FakeContext context;
  const cv::Mat picture = drawn(1);
  const auto put = [&](const Bytes& bytes) {
    Media media = context.media().put(bytes, "given");
    media.width = picture.cols;  // of JPEG the store in memory does not know it
    media.height = picture.rows;
    return media;
  };
  const Media original = put(encoded(picture, ".png")), again = put(encoded(picture, ".jpg", 70)),
              other = put(encoded(drawn(2), ".png"));
  const std::string question = "How many red cars stand in front of the old house?";
  auto benchmark = std::make_shared<FixedBenchmark>();
  benchmark->pairs = {pair_of("b1", question, original),
                      pair_of("b2", "What is the weather like on this picture today?", original),
                      pair_of("b3", question, Media{})};
  context.add<Benchmark>("bench", benchmark);
  DecontaminateCurator::Params params;
  params.benchmarks = {"bench"};
  DecontaminateCurator curator(params, context);
  const std::vector<PreferencePair> pairs{
      pair_of("same", question, original),
      pair_of("near", "Please tell: " + question, again),
      pair_of("second", "What is the weather like on this picture today", again),
      pair_of("image", "Who painted the wall behind it?", again),
      pair_of("question", question, other),
      pair_of("neither", "Why?", other),
      pair_of("absent", question, Media{})};
  const auto decisions = curator.review(pairs);
  REQUIRE(decisions.size() == pairs.size());
  std::string actions;
  for (const Decision& decision : decisions)
    actions += decision.action == Decision::Action::discard ? 'x' : '-';
  CHECK(actions == "xxx----");
  CHECK(decisions[0].reason == "same image as item 'b1' of bench, same question");
  CHECK_THAT(decisions[1].reason, Contains("bits away as item 'b1'"));
  CHECK_THAT(decisions[1].detail, Contains(R"("item":"b1")") && Contains(R"("exact":false)") &&
                                      Contains(R"("containment":1.0)"));
  CHECK_THAT(decisions[2].reason, Contains("'b2'"));
  CHECK_THAT(decisions[3].reason, Contains("another question"));
  CHECK_THAT(decisions[3].detail, Contains(R"("containment":0.0)"));
  CHECK(decisions[4].detail.empty());
  CHECK(context.logged("1 images of the benchmarks are absent"));
  check_curator_contract(curator, pairs);
  CHECK_THROWS_AS(DecontaminateCurator({}, context), ConfigError);
}

TEST_CASE("However many items share a picture, or nearly, each is compared") {
  FakeContext context;
  const cv::Mat picture = drawn(1);
  const auto put = [&](const Bytes& bytes) {
    Media media = context.media().put(bytes, "given");
    media.width = picture.cols;
    media.height = picture.rows;
    return media;
  };
  const auto question = [](int i) {
    return "What stands at place number " + std::to_string(i) + " of the long street?";
  };
  const Media shared = put(encoded(picture, ".png")), near = put(encoded(picture, ".jpg", 50));
  auto benchmark = std::make_shared<FixedBenchmark>();
  std::vector<PreferencePair> pairs;
  std::set<std::string> contents{shared.id};
  for (int i = 0; i < 100; ++i) {
    benchmark->pairs.push_back(pair_of("shared" + std::to_string(i), question(i), shared));
    pairs.push_back(pair_of("pair", question(i), shared));
    pairs.push_back(pair_of("pair", question(i), near));
  }
  for (int i = 0; i < 100; ++i) {  // 100 contents that are nearly one
    cv::Mat changed = picture.clone();
    changed.at<cv::Vec3b>(i, 0) = cv::Vec3b(1, 2, 3);
    const Media media = put(encoded(changed, ".png"));
    contents.insert(media.id);
    benchmark->pairs.push_back(pair_of("near" + std::to_string(i), question(1000 + i), media));
    pairs.push_back(pair_of("pair", question(1000 + i), shared));
  }
  CHECK(contents.size() == 101);
  // An item that came earlier wins where all else is equal, also by another content as near.
  benchmark->pairs.push_back(pair_of("again", question(7), shared));
  context.add<Benchmark>("bench", benchmark);
  DecontaminateCurator::Params params;
  params.benchmarks = {"bench"};
  DecontaminateCurator curator(params, context);
  const auto decisions = curator.review(pairs);
  int kept = 0;
  for (const Decision& decision : decisions) kept += decision.action != Decision::Action::discard;
  CHECK(kept == 0);
  for (const int i : {7, 69, 99}) {
    const std::string item = "'shared" + std::to_string(i) + "'";
    CHECK(decisions[static_cast<std::size_t>(2 * i)].reason ==
          "same image as item " + item + " of bench, same question");
    CHECK_THAT(decisions[static_cast<std::size_t>(2 * i + 1)].reason, Contains(item));
    CHECK_THAT(decisions[static_cast<std::size_t>(200 + i)].reason,
               Contains("'near" + std::to_string(i) + "'"));
  }
  const std::vector<PreferencePair> other{pair_of("other", "Who painted this?", shared)};
  CHECK(curator.review(other)[0].reason ==
        "same image as item 'shared0' of bench, another question");
}

TEST_CASE("A million images: at most 100 bytes each, at least 5,000 look-ups a second",
          "[.bench]") {
  Rng rng(1);
  ImageIndex index;
  for (int i = 0; i < 1'000'000; ++i) index.add(rng.next(), rng.next());
  index.build();
  CHECK(index.bytes() <= 100'000'000);
  const auto begin = std::clock();
  std::size_t hits = 0;
  for (int i = 0; i < 20'000; ++i) hits += index.find(rng.next(), rng.next(), 8).size();
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  WARN(index.bytes() / 1e6 << " bytes an image, " << 20'000 / seconds << " look-ups a second, "
                           << hits << " hits");
  CHECK(20'000 / seconds >= 5000);
}
