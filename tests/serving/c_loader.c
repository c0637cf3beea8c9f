/* Runs a signature through the C API, the way TF Serving loads a SavedModel.
 *
 *   c_loader LIBRARY SAVED_MODEL INPUT OUTPUTS pixels SIZE FILE   [n, SIZE, SIZE, 3]
 *   c_loader LIBRARY SAVED_MODEL INPUT OUTPUTS rows DIM FILE      [n, DIM]
 *   c_loader LIBRARY SAVED_MODEL INPUT OUTPUTS files [FILE ...]   encoded images
 *
 * LIBRARY holds further ops; - for none. INPUT and OUTPUTS are operations of the graph,
 * OUTPUTS as NAME:INDEX,NAME:INDEX. FILE of pixels and rows is raw float32. Prints a line
 * of values for each row of an output, and an empty line after each output. A variable
 * that the SavedModel does not hold fails here.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

#define MOST_OUTPUTS 8

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

static TF_Tensor *floats(const char *path, int rank, int64_t *shape) {
  size_t length;
  char *bytes = read_file(path, &length);
  int64_t row = (int64_t)sizeof(float);
  for (int i = 1; i < rank; i++) row *= shape[i];
  shape[0] = (int64_t)length / row;
  TF_Tensor *tensor = TF_AllocateTensor(TF_FLOAT, shape, rank, length);
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

static TF_Tensor *given(int argc, char **argv) {
  if (strcmp(argv[0], "files") == 0) return files(argc - 1, argv + 1);
  int64_t size = atoi(argv[1]);
  int64_t shape[] = {0, size, size, 3};
  return floats(argv[2], strcmp(argv[0], "pixels") == 0 ? 4 : 2, shape);
}

static void print_value(TF_Tensor *tensor, int64_t i) {
  const void *data = TF_TensorData(tensor);
  switch (TF_TensorType(tensor)) {
    case TF_FLOAT: printf("%.9g", ((const float *)data)[i]); break;
    case TF_INT8: printf("%d", ((const int8_t *)data)[i]); break;
    case TF_BOOL: printf("%d", ((const unsigned char *)data)[i]); break;
    case TF_STRING: {
      const TF_TString *string = (const TF_TString *)data + i;
      fwrite(TF_TString_GetDataPointer(string), 1, TF_TString_GetSize(string), stdout);
      break;
    }
    default: fprintf(stderr, "a type that is not printed\n"); exit(1);
  }
}

static void print_rows(TF_Tensor *tensor) {
  int64_t columns = TF_NumDims(tensor) > 1 ? TF_Dim(tensor, 1) : 1;
  for (int64_t i = 0; i < TF_Dim(tensor, 0); i++) {
    for (int64_t j = 0; j < columns; j++) {
      if (j) printf("\t");
      print_value(tensor, i * columns + j);
    }
    printf("\n");
  }
  printf("\n");
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: c_loader LIBRARY SAVED_MODEL INPUT OUTPUTS KIND ...\n");
    return 2;
  }
  TF_Status *status = TF_NewStatus();
  if (strcmp(argv[1], "-") != 0) {
    TF_LoadLibrary(argv[1], status);
    check(status, "library");
  }
  TF_Graph *graph = TF_NewGraph();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(
      TF_NewSessionOptions(), NULL, argv[2], tags, 1, graph, NULL, status);
  check(status, "load");

  TF_Output input = operation(graph, argv[3]), outputs[MOST_OUTPUTS];
  int count = 0;
  char *rest = argv[4], *name;
  while ((name = strtok_r(rest, ",", &rest)) && count < MOST_OUTPUTS)
    outputs[count++] = operation(graph, name);
  TF_Tensor *tensor = given(argc - 5, argv + 5);
  TF_Tensor *results[MOST_OUTPUTS] = {NULL};
  TF_SessionRun(session, NULL, &input, &tensor, 1, outputs, results, count, NULL, 0, NULL,
                status);
  check(status, "run");
  for (int i = 0; i < count; i++) print_rows(results[i]);
  return 0;
}
