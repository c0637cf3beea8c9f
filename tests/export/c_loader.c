/* Embeds through the C API, the way TF Serving loads a SavedModel.
 *
 *   c_loader SAVED_MODEL INPUT OUTPUT pixels SIZE FILE   float32 [n, SIZE, SIZE, 3]
 *   c_loader SAVED_MODEL INPUT OUTPUT files [FILE ...]   encoded images
 *
 * INPUT and OUTPUT are operations of the graph, OUTPUT as NAME:INDEX. Prints a row of
 * numbers for each image. A variable that the SavedModel does not hold fails here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  *length = (size_t)ftell(file);
  rewind(file);
  char *bytes = malloc(*length + 1);
  if (fread(bytes, 1, *length, file) != *length) exit(1);
  fclose(file);
  return bytes;
}

static TF_Tensor *pixels(int64_t size, const char *path) {
  size_t length;
  char *bytes = read_file(path, &length);
  int64_t image = size * size * 3 * (int64_t)sizeof(float);
  int64_t shape[] = {(int64_t)length / image, size, size, 3};
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, shape, 4, length);
  memcpy(TF_TensorData(tensor), bytes, length);
  free(bytes);
  return tensor;
}

static TF_Tensor *files(int count, char **paths) {
  int64_t shape[] = {count};
  TF_Tensor *tensor =
      TF_AllocateTensor(TF_STRING, shape, 1, (size_t)count * sizeof(TF_TString));
  TF_TString *strings = TF_TensorData(tensor);
  for (int i = 0; i < count; i++) {
    size_t length;
    char *bytes = read_file(paths[i], &length);
    TF_TString_Init(&strings[i]);
    TF_TString_Copy(&strings[i], bytes, length);
    free(bytes);
  }
  return tensor;
}

static TF_Output operation(TF_Graph *graph, char *name) {
  char *colon = strchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), index};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return output;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: c_loader SAVED_MODEL INPUT OUTPUT pixels|files ...\n");
    return 2;
  }
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Session *session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  TF_Output input = operation(graph, argv[2]), output = operation(graph, argv[3]);
  TF_Tensor *images = strcmp(argv[4], "pixels") == 0 ? pixels(atoi(argv[5]), argv[6])
                                                     : files(argc - 5, argv + 5);
  TF_Tensor *embeddings = NULL;
  TF_SessionRun(session, NULL, &input, &images, 1, &output, &embeddings, 1, NULL, 0,
                NULL, status);
  check(status, "run");

  const float *row = TF_TensorData(embeddings);
  for (int64_t i = 0; i < TF_Dim(embeddings, 0); i++) {
    for (int64_t j = 0; j < TF_Dim(embeddings, 1); j++) printf("%.9g ", *row++);
    printf("\n");
  }
  return 0;
}
