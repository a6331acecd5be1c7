#include "model/state_dict.hpp"

#include <ATen/core/Dict.h>
#include <caffe2/serialize/inline_container.h>
#include <torch/csrc/jit/serialization/pickler.h>

namespace bitfall {

std::string save_state_dict(const Network& network) {
  c10::Dict<std::string, at::Tensor> dict;
  for (const TensorInfo& info : network.tensors())
    dict.insert(info.name, network.tensor(info.name).contiguous());
  // Not torch::jit::pickle_save: it adds a type tag to the dict, a function call that weights_only refuses.
  std::string pickle;
  torch::jit::Pickler pickler([&](const char* bytes, std::size_t count) { pickle.append(bytes, count); },
                              nullptr, nullptr, nullptr, nullptr, /*tag_aggregates=*/false);
  pickler.protocol();
  pickler.pushIValue(dict);
  pickler.stop();

  std::string file;
  caffe2::serialize::PyTorchStreamWriter zip([&](const void* bytes, std::size_t count) {
    file.append(static_cast<const char*>(bytes), count);
    return count;
  });
  zip.writeRecord("data.pkl", pickle.data(), pickle.size());
  const std::vector<at::Tensor>& tensors = pickler.tensorData();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const torch::jit::WriteableTensorData data = torch::jit::getWriteableTensorData(tensors[i]);
    zip.writeRecord("data/" + std::to_string(i), data.data(), data.sizeInBytes());
  }
  zip.writeEndOfFile();
  return file;
}

}  // namespace bitfall
