// SPDX-License-Identifier: Apache-2.0
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dt2it/dataset.hpp"
#include "dt2it/plugin.hpp"

namespace dt2it {
namespace {

// Several data sets as one, one after the other.
class ChainDataset final : public Dataset {
 public:
  struct Params {
    std::vector<std::string> parts;
    static void describe(Schema<Params>& schema) {
      schema.component<Dataset>("parts", &Params::parts, "Data sets, in their order.").required();
    }
  };

  ChainDataset(const Params& params, Context& context) : params_(params), context_(context) {
    if (params.parts.empty()) throw ConfigError("parts: name at least one data set");
    if (std::set<std::string>(params.parts.begin(), params.parts.end()).size() !=
        params.parts.size())
      throw ConfigError("parts: a data set is named twice");
  }

  std::unique_ptr<Stream<Prompt>> prompts() override { return open<Prompt, &Dataset::prompts>(); }
  std::unique_ptr<Stream<PreferencePair>> pairs() override {
    return open<PreferencePair, &Dataset::pairs>();
  }
  std::unique_ptr<Stream<ImagePreference>> image_preferences() override {
    return open<ImagePreference, &Dataset::image_preferences>();
  }

 private:
  // Ids are unique within a part only: the part's name goes in front.
  template <class Record, auto stream>
  class PartsStream final : public Stream<Record> {
   public:
    explicit PartsStream(ChainDataset& owner) : owner_(owner) { advance(); }
    bool next(Record& record) override {
      while (current_) {
        if (current_->next(record)) {
          const std::string part = owner_.params_.parts[at_ - 1] + "/";
          record.id = part + record.id;
          if constexpr (std::is_same_v<Record, PreferencePair>) {
            record.prompt.id = part + record.prompt.id;
            if (record.rejected_prompt)
              record.rejected_prompt->id = part + record.rejected_prompt->id;
          }
          return true;
        }
        advance();
      }
      return false;
    }

   private:
    void advance() {
      current_.reset();
      if (at_ == owner_.params_.parts.size()) return;
      part_ = owner_.context_.component<Dataset>(owner_.params_.parts[at_++]);
      current_ = ((*part_).*stream)();
    }
    ChainDataset& owner_;
    std::size_t at_ = 0;
    std::shared_ptr<Dataset> part_;
    std::unique_ptr<Stream<Record>> current_;
  };

  template <class Record, auto stream>
  std::unique_ptr<Stream<Record>> open() {
    return std::make_unique<PartsStream<Record, stream>>(*this);
  }

  const Params params_;
  Context& context_;
};

}  // namespace
}  // namespace dt2it

DT2IT_PLUGIN("datasets/chain", "1.1.0", registrar) {
  registrar.add<dt2it::Dataset, dt2it::ChainDataset>("chain",
                                                     "Several data sets, one after the other.");
}
