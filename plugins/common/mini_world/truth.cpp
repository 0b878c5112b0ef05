// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/mini_world/truth.hpp"

#include <fmt/format.h>
#include <simdjson.h>

namespace dt2it::mini_world {
namespace {

std::string scene_json(const Scene& scene) {
  std::string text = "[";
  for (const Object& object : scene.objects) {
    if (text.size() > 1) text += ',';
    text += fmt::format("[{},{},{},{}]", object.cell, object.noun, object.colour, object.size);
  }
  return text + ']';
}

std::optional<Scene> read_scene(simdjson::dom::element element) {
  simdjson::dom::array objects;
  if (element.get_array().get(objects)) return std::nullopt;
  constexpr std::int64_t kLimits[] = {kCells, kNounCount, kColourCount, kSizeCount};
  Scene scene;
  for (simdjson::dom::element object : objects) {
    simdjson::dom::array numbers;
    if (object.get_array().get(numbers) || numbers.size() != 4) return std::nullopt;
    int values[4];
    for (std::size_t i = 0; i < 4; ++i) {
      std::int64_t value = 0;
      if (numbers.at(i).get_int64().get(value) || value < 0 || value >= kLimits[i])
        return std::nullopt;
      values[i] = static_cast<int>(value);
    }
    scene.objects.push_back({values[0], values[1], values[2], values[3]});
  }
  return scene;
}

}  // namespace

std::string truth_extra(const Truth& truth, std::string_view more) {
  std::string fields;
  const auto add = [&](std::string_view key, const std::string& json) {
    fields += fmt::format("{}\"{}\":{}", fields.empty() ? "" : ",", key, json);
  };
  if (!truth.aligned.empty()) add("aligned", '"' + truth.aligned + '"');
  if (truth.kind)
    add("kind", fmt::format("\"{}\"", kKindNames[static_cast<std::size_t>(*truth.kind)]));
  if (!truth.preferred.empty()) add("preferred", '"' + truth.preferred + '"');
  if (!truth.scenes.empty()) {
    std::string scenes;
    for (const Scene& scene : truth.scenes)
      scenes += (scenes.empty() ? "" : ",") + scene_json(scene);
    add("scenes", '[' + scenes + ']');
  }
  return fmt::format("{{{}{}\"truth\":{{{}}}}}", more, more.empty() ? "" : ",", fields);
}

std::optional<Truth> read_truth(std::string_view extra) {
  if (extra.find("\"truth\"") == std::string_view::npos) return std::nullopt;
  simdjson::dom::parser parser;
  simdjson::dom::object truth;
  if (parser.parse(extra.data(), extra.size())["truth"].get_object().get(truth))
    return std::nullopt;
  Truth result;
  std::string_view text;
  if (!truth["kind"].get_string().get(text)) result.kind = kind_named(text);
  if (!truth["preferred"].get_string().get(text)) result.preferred = text;
  if (!truth["aligned"].get_string().get(text)) result.aligned = text;
  simdjson::dom::array scenes;
  if (!truth["scenes"].get_array().get(scenes))
    for (simdjson::dom::element element : scenes) {
      auto scene = read_scene(element);
      if (!scene) return std::nullopt;
      result.scenes.push_back(std::move(*scene));
    }
  if (result.scenes.empty() && result.preferred.empty()) return std::nullopt;
  return result;
}

}  // namespace dt2it::mini_world
