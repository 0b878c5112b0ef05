// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "dt2it/context.hpp"
#include "dt2it/curator.hpp"
#include "plugins/curators/decontaminate/image_index.hpp"
#include "plugins/curators/decontaminate/question_text.hpp"

namespace dt2it {

// Keeps what is measured out of what is trained on. A pair (or a prompt, dressed as one) is
// discarded where one of its images is the same as or near-identical to an image of a benchmark
// item *and* its question overlaps with that item's question. The image alone is only reported:
// data sets share photographs, and other questions about one are no leak. The other way round, too:
// questions are formulas ("Describe the image."). The paper (section 4.2) says that overlapping
// samples are removed, not by what rule. Each decision carries its evidence.
class DecontaminateCurator final : public Curator {
 public:
  struct Params {
    std::vector<std::string> benchmarks;
    std::vector<std::string> datasets;
    std::int64_t max_distance = 8;
    std::int64_t ngram = 5;
    double containment = 0.6;
    std::int64_t threads = 0;
  };
  static void describe(Schema<Params>& schema);

  DecontaminateCurator(const Params& params, Context& context);
  std::vector<Decision> review(std::span<const PreferencePair> pairs) override;

 private:
  struct Item {
    std::uint32_t source;  // in names_
    std::string id;
    QuestionKey question;
  };
  // Where an item shows an image of the index: of each image a list, the latest first.
  struct Use {
    std::uint32_t item;  // in items_
    std::uint32_t next;  // in uses_; kNoUse: there is none
  };
  static constexpr std::uint32_t kNoUse = 0xffffffff;
  struct Hashes {
    std::uint64_t content = 0;
    std::uint64_t perceptual = 0;
    bool has_perceptual = false;
  };

  void read_benchmarks();
  void add(const PreferencePair& pair, std::uint32_t source);
  Hashes hashes_of(const Media& media) const;
  Decision decide(const PreferencePair& pair) const;

  const Params params_;
  Context& context_;
  std::mutex mutex_;
  bool ready_ = false;
  std::vector<std::string> names_;
  std::vector<Item> items_;
  ImageIndex index_;  // each image once, however many items show it
  std::vector<Use> uses_;
  std::vector<std::uint32_t> uses_of_image_;  // by the index's numbers: the first of the list
  // By content and perceptual hash, while benchmarks are read. The latter follows from the former
  // but for what records say of an image's size.
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> image_numbers_;
  std::size_t absent_ = 0;
};

}  // namespace dt2it
