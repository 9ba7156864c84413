// The how-to with a system-assigned identity, with the Azure SDK for Java:
//   java -cp 'lib/*' Sai.java ENDPOINT STORAGE_ACCOUNT
// azure-identity and azure-storage-blob; the control plane through the SDK's
// own HTTP pipeline. Settings are the usual AZURE_* variables and SAMPLES; the
// deployment brings its own server, SCORER_IMAGE. The last line printed is a
// JSON object that says how it went.

import com.azure.core.http.HttpHeaderName;
import com.azure.core.http.HttpMethod;
import com.azure.core.http.HttpPipeline;
import com.azure.core.http.HttpPipelineBuilder;
import com.azure.core.http.HttpRequest;
import com.azure.core.http.HttpResponse;
import com.azure.core.http.policy.BearerTokenAuthenticationPolicy;
import com.azure.core.http.policy.RetryPolicy;
import com.azure.core.util.BinaryData;
import com.azure.core.util.Context;
import com.azure.identity.DefaultAzureCredential;
import com.azure.identity.DefaultAzureCredentialBuilder;
import com.azure.storage.blob.BlobContainerClient;
import com.azure.storage.blob.BlobContainerClientBuilder;
import com.azure.storage.blob.BlobServiceClient;
import com.azure.storage.blob.BlobServiceClientBuilder;
import com.azure.storage.blob.models.BlobStorageException;
import com.azure.storage.common.StorageSharedKeyCredential;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

public class Sai {
    static final String CONTAINER = "hello-world-container";
    static final DefaultAzureCredential CREDENTIAL = new DefaultAzureCredentialBuilder().build();
    static final HttpPipeline ARM = new HttpPipelineBuilder()
        .policies(new RetryPolicy(), new BearerTokenAuthenticationPolicy(CREDENTIAL, "https://management.azure.com/.default"))
        .build();
    static final HttpPipeline PLAIN = new HttpPipelineBuilder().build();

    public static void main(String[] args) throws Exception {
        String endpoint = args[0], account = args[1];
        Path online = Path.of(System.getenv("SAMPLES"), "endpoints", "online");
        String group = "/subscriptions/" + System.getenv("AZURE_SUBSCRIPTION_ID") + "/resourceGroups/" + System.getenv("AZURE_RESOURCE_GROUP");
        String workspace = group + "/providers/Microsoft.MachineLearningServices/workspaces/" + System.getenv("AZURE_ML_WORKSPACE");
        String storage = group + "/providers/Microsoft.Storage/storageAccounts/" + account;
        String ml = "?api-version=2024-10-01", st = "?api-version=2023-05-01", az = "?api-version=2022-04-01";
        Map<String, Object> report = new LinkedHashMap<>();

        String location = text(arm("GET", workspace + ml, null), "location");

        // The account, its container and hello.txt.
        arm("PUT", storage + st, Map.of("location", location, "kind", "StorageV2", "sku", Map.of("name", "Standard_LRS")));
        while (!"Succeeded".equals(text(arm("GET", storage + st, null), "properties", "provisioningState"))) {
            Thread.sleep(200);
        }
        Map<String, Object> key = list(arm("POST", storage + "/listKeys" + st, null), "keys").get(0);
        String url = "https://" + account + ".blob.core.windows.net";
        BlobServiceClient blobs = new BlobServiceClientBuilder().endpoint(url)
            .credential(new StorageSharedKeyCredential(account, text(key, "value"))).buildClient();
        BlobContainerClient container = blobs.createBlobContainer(CONTAINER);
        container.getBlobClient("hello.txt").uploadFromFile(online.resolve("managed/managed-identities/hello.txt").toString());
        report.put("listed", container.listBlobs().stream().map(b -> b.getName()).toList());

        // The caller's own token does not read blobs: Owner has no data actions.
        try {
            new BlobServiceClientBuilder().endpoint(url).credential(CREDENTIAL).buildClient()
                .getBlobContainerClient(CONTAINER).getBlobClient("hello.txt").downloadContent();
            report.put("refused", "");
        } catch (BlobStorageException e) {
            report.put("refused", e.getStatusCode() + " " + e.getErrorCode());
        }

        // The model, uploaded to the workspace's default datastore.
        String datastore = workspace + "/datastores/workspaceblobstore";
        Map<String, Object> store = arm("GET", datastore + ml, null);
        Map<String, Object> secret = arm("POST", datastore + "/listSecrets" + ml, Map.of("expirableSecret", true, "expireAfterHours", 1));
        BlobContainerClient uploads = new BlobContainerClientBuilder()
            .endpoint("https://" + text(store, "properties", "accountName") + ".blob.core.windows.net/" + text(store, "properties", "containerName"))
            .sasToken(text(secret, "sasToken")).buildClient();
        try (DirectoryStream<Path> files = Files.newDirectoryStream(online.resolve("model-1/model"))) {
            for (Path file : files) {
                uploads.getBlobClient(endpoint + "/model/" + file.getFileName()).uploadFromFile(file.toString());
            }
        }
        String model = workspace + "/models/" + endpoint + "-model/versions/1";
        arm("PUT", model + ml, Map.of("properties", Map.of("modelType", "custom_model", "modelUri", "azureml:/" + datastore + "/paths/" + endpoint + "/model")));
        String environment = workspace + "/environments/" + endpoint + "-env/versions/1";
        arm("PUT", environment + ml, Map.of("properties", Map.of("image", System.getenv("SCORER_IMAGE"), "inferenceConfig", Map.of(
            "livenessRoute", Map.of("port", 8080, "path", "/health/live"),
            "readinessRoute", Map.of("port", 8080, "path", "/health/ready"),
            "scoringRoute", Map.of("port", 8080, "path", "/score")))));

        // The endpoint, its role, the deployment, the traffic.
        String id = workspace + "/onlineEndpoints/" + endpoint;
        Map<String, Object> shape = new LinkedHashMap<>(Map.of("location", location, "identity", Map.of("type", "SystemAssigned")));
        shape.put("properties", Map.of("authMode", "Key"));
        report.put("state", finish(arm("PUT", id + ml, shape)));
        Map<String, Object> shown = arm("GET", id + ml, null);
        String role = group.substring(0, group.indexOf("/resourceGroups")) + "/providers/Microsoft.Authorization/roleDefinitions/2a2b9908-6ea1-4ae2-8e65-a410df84e7d1";
        arm("PUT", storage + "/providers/Microsoft.Authorization/roleAssignments/" + UUID.randomUUID() + az, Map.of("properties", Map.of(
            "roleDefinitionId", role, "principalId", text(shown, "identity", "principalId"), "principalType", "ServicePrincipal")));
        String deployment = id + "/deployments/blue";
        report.put("deployed", finish(arm("PUT", deployment + ml, Map.of("location", location, "sku", Map.of("name", "Default", "capacity", 1), "properties", Map.of(
            "endpointComputeType", "Managed", "instanceType", "Standard_DS3_v2", "model", model, "environmentId", environment,
            "environmentVariables", Map.of("STORAGE_ACCOUNT_NAME", account, "STORAGE_CONTAINER_NAME", CONTAINER, "FILE_NAME", "hello.txt"))))));
        report.put("log", text(arm("POST", deployment + "/getLogs" + ml, Map.of("tail", 1000)), "content"));
        shape.put("properties", Map.of("authMode", "Key", "traffic", Map.of("blue", 100)));
        finish(arm("PUT", id + ml, shape));

        String endpointKey = text(arm("POST", id + "/listKeys" + ml, null), "primaryKey");
        HttpRequest score = new HttpRequest(HttpMethod.POST, text(shown, "properties", "scoringUri"))
            .setHeader(HttpHeaderName.AUTHORIZATION, "Bearer " + endpointKey).setHeader(HttpHeaderName.CONTENT_TYPE, "application/json")
            .setBody(Files.readString(online.resolve("model-1/sample-request.json")));
        try (HttpResponse answer = PLAIN.sendSync(score, Context.NONE)) {
            report.put("score", answer.getBodyAsString().block());
        }

        send("DELETE", id + ml, null).close();
        int left;
        do {
            Thread.sleep(200);
            try (HttpResponse answer = send("GET", id + ml, null)) {
                left = answer.getStatusCode();
            }
        } while (left == 200);
        report.put("left", left);
        send("DELETE", storage + st, null).close();
        System.out.println();
        System.out.println(BinaryData.fromObject(report));
    }

    static HttpResponse send(String method, String id, Object body) {
        HttpRequest request = new HttpRequest(HttpMethod.valueOf(method), id.startsWith("https://") ? id : "https://management.azure.com" + id)
            .setHeader(HttpHeaderName.CONTENT_TYPE, "application/json");
        request.setBody(body == null ? BinaryData.fromString("") : BinaryData.fromObject(body));
        return ARM.sendSync(request, Context.NONE);
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> arm(String method, String id, Object body) {
        try (HttpResponse answer = send(method, id, body)) {
            String text = answer.getBodyAsString().block();
            if (answer.getStatusCode() >= 300) {
                throw new IllegalStateException(method + " " + id + ": " + answer.getStatusCode() + " " + text);
            }
            return text == null || text.isEmpty() ? Map.of() : BinaryData.fromString(text).toObject(Map.class);
        }
    }

    /** Polls the operation of an answer to its end. */
    static String finish(Map<String, Object> answer) throws InterruptedException {
        String url = text(answer, "properties", "properties", "AzureAsyncOperationUri");
        while (true) {
            String status = text(arm("GET", url, null), "status");
            if (List.of("Succeeded", "Failed", "Canceled").contains(status)) {
                return status;
            }
            Thread.sleep(200);
        }
    }

    @SuppressWarnings("unchecked")
    static String text(Map<String, Object> object, String... path) {
        Object value = object;
        for (String name : path) {
            value = ((Map<String, Object>) value).get(name);
        }
        return (String) value;
    }

    @SuppressWarnings("unchecked")
    static List<Map<String, Object>> list(Map<String, Object> object, String name) {
        return (List<Map<String, Object>>) object.get(name);
    }
}
