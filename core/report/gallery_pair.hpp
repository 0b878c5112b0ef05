// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "core/report/gallery.hpp"
#include "core/report/json_read.hpp"

namespace dt2it::report {

// One line of pairs.jsonl, without candidates.
GalleryPair read_gallery_pair(const simdjson::dom::element& json, MediaStore* store);

}  // namespace dt2it::report
