// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "core/nn/vision_tower.hpp"
#include "dt2it/backbone.hpp"

namespace dt2it::nn {

struct FeatureCacheOptions {
  std::uint64_t memory_bytes = 0;
  std::filesystem::path folder;  // empty: memory only
  std::uint64_t disk_bytes = 0;
};

// What a vision tower whose weights stay made of pictures and videos, by their content: in memory,
// and in a folder that several processes may share. The least recently used go first. What is
// damaged or cannot be read is made again; what cannot be written is not kept. Features are held on
// the CPU. Not thread-safe, safe between processes.
class FeatureCache {
 public:
  // Throws ConfigError when the folder cannot be made.
  explicit FeatureCache(const FeatureCacheOptions& options);

  // `version` tells the states of the weights in this process apart: what was made in another one
  // is forgotten. `identity` does so between processes (weights, configuration, arithmetic); it is
  // only called where there is a folder.
  void begin(std::uint64_t version, const std::function<std::string()>& identity);
  VisionFeatures get(const PreparedVisual& visual, const std::function<VisionFeatures()>& make);

  std::uint64_t made() const { return made_; }  // how often `make` was called
  std::uint64_t held_bytes() const { return held_; }

 private:
  struct Entry {
    VisionFeatures features;
    std::uint64_t bytes = 0;
    std::list<std::string>::iterator age;
  };
  void keep(const std::string& key, const VisionFeatures& features);
  std::filesystem::path file_of(const std::string& key) const;
  bool read(const std::string& key, VisionFeatures& features) const;
  void write(const std::string& key, const VisionFeatures& features);
  void make_room();

  const FeatureCacheOptions options_;
  std::optional<std::uint64_t> version_;
  std::string identity_;
  std::unordered_map<std::string, Entry> entries_;
  std::list<std::string> ages_;  // most recently used first
  std::uint64_t held_ = 0, made_ = 0;
  std::uint64_t on_disk_ = 0,
                added_ = 0;  // as far as this process knows, and by it since it looked
};

}  // namespace dt2it::nn
