// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace dt2it {

// The names that a model family's weights have on the Hugging Face hub, which we call canonical.
// Files hold other ones too, after the tree of modules or the program that trained the model:
//   qwen2_5_vl: visual.*, model.layers.*, ...              as model.visual.*,
//   model.language_model.* qwen3_vl:   model.visual.*, model.language_model.*     as visual.*,
//   model.layers.*, ...
// and both as language_model.model.*, behind base_model.model. (adapters), pretrained_model. (ZeRO
// dumps) or module. .
enum class KeyLayout { as_stored, qwen2_5_vl, qwen3_vl };

// By config.json's model_type; as_stored for one that is not known.
KeyLayout key_layout_of(std::string_view model_type);

// The canonical name of a stored one. Names of no part of the model (heads) only lose what they are
// behind.
std::string canonical_key(KeyLayout layout, std::string_view stored);

// Whether a canonical name belongs to the tower or the language model, lm_head.weight included.
bool is_body_key(std::string_view canonical);

}  // namespace dt2it
