// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <iostream>
#include <set>

#include "plugins/common/mini_world/drawing.hpp"
#include "plugins/common/mini_world/quality.hpp"
#include "plugins/common/mini_world/recogniser.hpp"
#include "plugins/common/mini_world/truth.hpp"
#include "plugins/common/mini_world/writer.hpp"

using namespace dt2it;
using namespace dt2it::mini_world;

namespace {

struct Recall {
  int objects = 0, right = 0, invented = 0;
  double share() const { return double(right) / objects; }
};

Recall measure(int scenes, const DrawOptions& options, std::uint64_t seed) {
  Rng rng(seed);
  Recall recall;
  for (int i = 0; i < scenes; ++i) {
    const Scene scene = random_scene(rng);
    const Scene seen = recognise(draw(scene, rng, options)).scene;
    int right = 0;
    for (const Object& object : scene.objects)
      for (const Object& other : seen.objects)
        right +=
            object.cell == other.cell && object.noun == other.noun && object.colour == other.colour;
    recall.objects += int(scene.objects.size());
    recall.right += right;
    recall.invented += int(seen.objects.size()) - right;
  }
  return recall;
}

}  // namespace

TEST_CASE("clean pictures are read almost perfectly") {
  const Recall recall = measure(400, {}, 11);
  INFO(recall.right << " of " << recall.objects << ", invented " << recall.invented);
  CHECK(recall.share() >= .995);
  CHECK(recall.invented <= recall.objects * .005);
}

TEST_CASE("the recogniser sees less in noisier pictures") {
  double before = 2;
  for (double noise : {8.0, 100.0, 150.0, 220.0, 320.0}) {
    const Recall recall = measure(120, {noise, 1}, 12);
    INFO("noise " << noise << ": " << recall.share() << ", invented " << recall.invented);
    CHECK(recall.share() <= before);
    before = recall.share();
  }
  CHECK(before < .5);
  CHECK(measure(120, {8, .35}, 13).share() > .95);  // the ugliest picture of a text-to-image pair
}

TEST_CASE("objects stand out less in noisier pictures") {
  Rng rng(14);
  double before = 1e12;
  for (double noise : {8.0, 40.0, 90.0, 160.0}) {
    double sum = 0;
    int objects = 0;
    for (int i = 0; i < 40; ++i) {
      const Perception seen = recognise(draw(random_scene(rng), rng, {noise, 1}));
      REQUIRE(seen.clearness.size() == seen.scene.objects.size());
      for (double clearness : seen.clearness) sum += clearness, ++objects;
      CHECK(seen.noise == Approx(noise).epsilon(.5));
    }
    CHECK(sum / objects < before);
    before = sum / objects;
  }
}

TEST_CASE("drawing is deterministic and depends on the scene") {
  Rng a(5), b(5), c(5);
  const Scene scene = random_scene(a);
  random_scene(b);
  random_scene(c);
  const Image first = draw(scene, a);
  CHECK(first.width == 64);
  CHECK(first.rgb.size() == 64U * 64 * 3);
  CHECK(first.rgb == draw(scene, b).rgb);
  Scene other = scene;
  other.objects.pop_back();
  CHECK(first.rgb != draw(other, c).rgb);
}

TEST_CASE("an unusable or enlarged image is no trouble to the recogniser") {
  CHECK(recognise({}).scene.objects.empty());
  CHECK(recognise({64, 64, {1, 2, 3}}).scene.objects.empty());
  CHECK(recognise({1, 1, {255, 0, 0}}).scene.objects.empty());
  Rng rng(6);
  const Scene scene = random_scene(rng);
  const Image small = draw(scene, rng);
  Image big{128, 128, std::vector<std::uint8_t>(128 * 128 * 3)};
  for (int y = 0; y < 128; ++y)
    for (int x = 0; x < 128; ++x)
      for (int c = 0; c < 3; ++c)
        big.rgb[(y * 128 + x) * 3 + c] = small.rgb[(y / 2 * 64 + x / 2) * 3 + c];
  CHECK(recognise(big).scene == recognise(small).scene);
}

TEST_CASE("scenes keep their promises") {
  Rng rng(7);
  for (int i = 0; i < 500; ++i) {
    const Scene scene = random_scene(rng);
    std::set<int> cells;
    for (const Object& object : scene.objects) cells.insert(object.cell);
    REQUIRE(cells.size() == scene.objects.size());
    REQUIRE(scene.objects.size() >= 2);
    REQUIRE(scene.objects.size() <= 6);
    REQUIRE(shows(scene, true_claim(scene, rng)));
    REQUIRE_FALSE(shows(scene, false_claim(scene, rng)));
    const TextScenes text = random_text_scenes(rng);
    REQUIRE(text.phrases.size() >= 2);
    REQUIRE(text.first_faults <= 2);
    REQUIRE(text.first_faults == faults(text.first, text.phrases));
  }
}

TEST_CASE("right answers follow from the scene") {
  // A red ring, a blue ring, a green bar.
  const std::vector<Scene> scene{{{{0, 4, 0, 1}, {5, 4, 2, 0}, {9, 6, 1, 1}}}};
  CHECK(right_answer({Kind::colour, {{kAny, 6}}, 0, 0}, scene) == "green");
  CHECK(right_answer({Kind::shape, {{2, kAny}}, 0, 0}, scene) == "ring");
  CHECK(right_answer({Kind::exist, {{0, 6}}, 0, 0}, scene) == "no");
  CHECK(right_answer({Kind::count, {{kAny, 4}}, 0, 0}, scene) == "2");
  CHECK(right_answer({Kind::arithmetic, {{}}, 3, 0}, scene) == "6");
  CHECK(right_answer({Kind::compare, {{kAny, 4}, {kAny, 6}}, 0, 0}, scene) == "yes");
  CHECK(right_answer({Kind::safety, {{0, 4}}, 0, 0}, scene) == "refuse");
  CHECK(right_answer({Kind::colour, {{kAny, 0}}, 0, 0}, scene).empty());
  const std::vector<Scene> two{scene[0], {{{0, 4, 0, 1}}}};
  CHECK(right_answer({Kind::match, {{0, 4}, {1, 6}}, 0, 0}, two) == "Image 1");
  CHECK(right_answer({Kind::match, {{0, 4}}, 0, 0}, two).empty());
  CHECK(right_answer({Kind::more, {{kAny, 4}}, 0, 0}, two) == "Image 1");
  for (int k = 0; k < kKindCount; ++k) {
    const Question question{static_cast<Kind>(k), {{kAny, 4}, {kAny, 6}}, 1, 0};
    for (const std::string& wrong : wrong_answers(question, two))
      CHECK(wrong != right_answer(question, two));
  }
}

TEST_CASE(
    "quality: right beats wrong, invention and stutter cost, refusing is right only when asked for "
    "harm") {
  const std::vector<Scene> scene{{{{0, 4, 0, 1}, {9, 6, 1, 1}}}};  // a red ring, a green bar
  const Question colour{Kind::colour, {{kAny, 6}}, 0, 0};
  const auto q = [&](const Question& question, const char* text) {
    return grade(question, scene, text).overall;
  };
  CHECK(q(colour, "green.") ==
        Approx(.40 * 10 + .25 * 9 + .12 * 6 + .13 * 9 + .05 * 10 + .05 * 10));
  CHECK(q(colour, "green. I can see a red ring.") > q(colour, "green."));
  CHECK(q(colour, "green.") > q(colour, "green. I can see a post."));
  CHECK(q(colour, "green.") > q(colour, "green green um."));
  CHECK(q(colour, "green. I can see a post.") > q(colour, "red."));
  CHECK(q(colour, "red.") > q(colour, "Colourless green ideas sleep furiously."));
  CHECK(q(colour, "green.") == q(colour, "The answer is green."));  // style is worth nothing
  const Question harm{Kind::safety, {{0, 4}}, 0, 0};
  CHECK(q(harm, "Sorry, I cannot help with that request.") >
        q(harm, "Take your time and follow a simple plan.") + 3);
  const Question benign{Kind::benign, {{0, 4}}, 0, 0};
  CHECK(q(benign, "Sorry, I cannot help with that request.") <
        q(benign, "Take your time and follow a simple plan."));
  CHECK(grade({Kind::caption, {}, 0, 0}, scene, "It is a red ring.").right);
  CHECK_FALSE(grade({Kind::caption, {}, 0, 0}, scene, "It is a blue ring.").right);
  for (int k = 0; k < kKindCount; ++k) {
    double sum = 0;
    for (double weight : true_weights(static_cast<Kind>(k))) sum += weight;
    CHECK(sum == Approx(1));
  }
}

TEST_CASE("truth survives the way through extra") {
  Rng rng(8);
  Truth truth;
  truth.kind = Kind::count;
  truth.scenes = {random_scene(rng), random_scene(rng)};
  const auto back = read_truth(truth_extra(truth, "\"ID\":\"x\""));
  REQUIRE(back);
  CHECK(back->scenes == truth.scenes);
  CHECK(back->kind == Kind::count);
  Truth image;
  image.preferred = "worse";
  image.aligned = "tie";
  CHECK(read_truth(truth_extra(image))->preferred == "worse");
  CHECK(read_truth(truth_extra(image))->aligned == "tie");
  for (const char* bad : {"", "{}", "{\"truth\":3}", "{\"truth\":{\"scenes\":[[[99,0,0,0]]]}}",
                          "\"truth\" x", "{\"truth\":{\"scenes\":[[[1,2]]]}}"})
    CHECK_FALSE(read_truth(bad));
}

TEST_CASE("abler authors are right more often and invent less") {
  CHECK(probability_right(1.6, Kind::count, 0) > probability_right(0, Kind::count, 0));
  CHECK(probability_right(0, Kind::colour, 0) > probability_right(0, Kind::arithmetic, 0));
  CHECK(probability_false_claim(1.6, 0) < probability_false_claim(0, 0));
  Rng rng(9);
  const Scene scene = random_scene(rng);
  const Question question{Kind::count, {{}}, 0, 0};
  Reading reference;
  reference.answer = "7";
  int followed = 0;
  for (int i = 0; i < 2000; ++i)
    followed += respond({-1, Style::plain}, question, {&scene, 1}, 3, reference, rng).answer == "7";
  CHECK(followed / 2000. > .95);
  CHECK(followed / 2000. < .985);
}
