// SPDX-License-Identifier: Apache-2.0
// Does a model look? Items with other pictures than their own.
#include <map>
#include <string>
#include <utility>

#include "core/stages/evaluation.hpp"

namespace dt2it {
namespace {

template <class Use>
void each_media(Prompt& prompt, Use use) {
  for (Message& message : prompt.messages)
    for (Part& part : message.content)
      if (part.kind != Part::Kind::text && part.media.present()) use(part.media);
}

// Which media items can lend each other: as many, of the same kinds.
std::string shape_of(Prompt& prompt) {
  std::string shape;
  each_media(prompt,
             [&](const Media& media) { shape += media.kind == Media::Kind::image ? 'i' : 'v'; });
  return shape;
}

std::vector<Media> media_of(Prompt& prompt) {
  std::vector<Media> all;
  each_media(prompt, [&](const Media& media) { all.push_back(media); });
  return all;
}

bool same_content(const std::vector<Media>& one, const std::vector<Media>& other) {
  for (std::size_t i = 0; i < one.size(); ++i)
    if (one[i].id != other[i].id || one[i].frames != other[i].frames) return false;
  return true;
}

// The pixels of `other` under the name of the item's own: suites may take a category from that.
void replace(Media& media, Media other) {
  other.source = media.source;
  media = std::move(other);
}

class Blanks {
 public:
  explicit Blanks(MediaStore& store) : store_(store) {}
  Media of(const Media& media) {
    constexpr int kUnknownSize = 448, kFrames = 8;
    const std::pair size{media.width > 0 ? media.width : kUnknownSize,
                         media.height > 0 ? media.height : kUnknownSize};
    auto found = known_.find(size);
    if (found == known_.end()) {
      Image grey{size.first, size.second, {}};
      grey.rgb.assign(
          static_cast<std::size_t>(size.first) * static_cast<std::size_t>(size.second) * 3, 128);
      found = known_.emplace(size, store_.put_image(grey, "blank")).first;
    }
    if (media.kind == Media::Kind::image) return found->second;
    Media video;
    video.kind = Media::Kind::video;
    video.frames.assign(media.frames.empty() ? kFrames : media.frames.size(), found->second.id);
    return video;
  }

 private:
  MediaStore& store_;
  std::map<std::pair<int, int>, Media> known_;
};

}  // namespace

std::size_t change_pictures(std::vector<PreferencePair>& items, Pictures pictures,
                            Context& context) {
  std::size_t changed = 0;
  if (pictures == Pictures::blank) {
    Blanks blanks(context.media());
    for (PreferencePair& pair : items) {
      bool any = false;
      each_media(pair.prompt, [&](Media& media) { replace(media, blanks.of(media)), any = true; });
      changed += any;
    }
  }
  if (pictures == Pictures::swapped) {
    std::map<std::string, std::vector<std::size_t>> shapes;
    std::vector<std::vector<Media>> own;
    for (std::size_t i = 0; i < items.size(); ++i) {
      own.push_back(media_of(items[i].prompt));
      if (!own.back().empty()) shapes[shape_of(items[i].prompt)].push_back(i);
    }
    for (auto& [shape, rows] : shapes) {
      context.rng("swapped/" + shape).shuffle(rows);
      for (std::size_t i = 0; i < rows.size(); ++i) {
        std::size_t step = 1;
        while (step < rows.size() &&
               same_content(own[rows[i]], own[rows[(i + step) % rows.size()]]))
          ++step;
        if (step == rows.size()) continue;  // all show the same
        const std::vector<Media>& other = own[rows[(i + step) % rows.size()]];
        std::size_t at = 0;
        each_media(items[rows[i]].prompt, [&](Media& media) { replace(media, other[at++]); });
        ++changed;
      }
    }
  }
  return changed;
}

}  // namespace dt2it
